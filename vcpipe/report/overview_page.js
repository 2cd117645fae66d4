"use strict";
(() => {
  const table = document.getElementById("figures-table");
  const headings = [...table.tHead.rows[1].cells];

  // The best first; a second press turns the order round. What was not measured stands last either way.
  headings.forEach((heading, column) => {
    const rank = (row) => -Number(row.cells[column].dataset.merit);
    const missing = (row) => row.cells[column].dataset.merit === "";
    const name = (row) => row.cells[0].dataset.name;
    const [first, second] =
      ["higher", ""].includes(heading.dataset.better) && column > 0 ? ["descending", "ascending"] : ["ascending", "descending"];
    heading.querySelector("button").addEventListener("click", () => {
      const turned = heading.getAttribute("aria-sort") === first;
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", turned ? second : first);
      const sign = turned ? -1 : 1;
      const compare = (a, b) =>
        column === 0
          ? sign * name(a).localeCompare(name(b), undefined, { numeric: true })
          : missing(a) - missing(b) || (missing(a) ? 0 : sign * (rank(a) - rank(b)));
      for (const part of table.tBodies) {
        part.append(...[...part.rows].filter((row) => !row.classList.contains("title")).sort(compare));
      }
    });
  });

  const groups = document.getElementById("groups");
  const choose = () => {
    for (const box of groups.querySelectorAll("input")) {
      for (const cell of table.querySelectorAll(`[data-group="${box.name}"]`)) cell.hidden = !box.checked;
    }
  };
  groups.addEventListener("change", choose);
  groups.hidden = false;
  choose(); // a browser keeps what was ticked when a page is loaded again

  const compared = document.getElementById("compared");
  if (!compared) return;
  const lines = [...document.getElementById("comparisons-table").tBodies[0].rows];
  const filter = () => {
    const { measure, row } = Object.fromEntries(new FormData(compared));
    let count = 0;
    for (const line of lines) {
      const { measure: of, a, b } = line.dataset;
      line.hidden = (measure && of !== measure) || (row && a !== row && b !== row);
      count += line.hidden ? 0 : 1;
    }
    compared.elements.count.value = `${count} of ${lines.length}`;
  };
  compared.addEventListener("change", filter);
  compared.addEventListener("submit", (event) => event.preventDefault());
  compared.hidden = false;
  filter();
})();
