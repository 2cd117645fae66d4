"use strict";
(() => {
  const { measures, rows, worst, pairs } = JSON.parse(document.getElementById("data").textContent);
  const form = document.getElementById("choice");
  const list = document.getElementById("list");
  const card = document.getElementById("card").content;
  const roles = { source: ["Source", "what is said"], reference: ["Reference", "whose voice"], converted: ["Converted", "what came out"] };

  const make = (tag, words, name = "") => {
    const element = document.createElement(tag);
    element.textContent = words;
    if (name) element.className = name;
    return element;
  };
  const shown = (index, value) => {
    const { digits, scale, unit } = measures[index];
    return (value * scale).toFixed(digits) + (unit ? `\u00a0${unit}` : "");
  };

  const player = (pair, kind, path) => {
    const figure = make("figure", "", kind);
    const caption = make("figcaption", "");
    caption.append(make("strong", roles[kind][0]), " ", roles[kind][1]);
    const audio = document.createElement("audio");
    const who = kind === "source" ? pair.from : pair.to;
    Object.assign(audio, { controls: true, preload: "none", src: path, ariaLabel: `${roles[kind][0]}: ${who}, ${pair.name}` });
    figure.append(caption, audio);
    return figure;
  };

  const show = (pair, by) => {
    const copy = card.cloneNode(true);
    const find = (selector) => copy.querySelector(selector);
    find(".value").textContent = shown(by, pair.values[by]);
    for (const part of copy.querySelectorAll("[data-text]")) part.textContent = pair[part.dataset.text];
    const { row, label } = rows[pair.row];
    find("a.row").textContent = label;
    find("a.row").href = `systems/${encodeURIComponent(row)}.html`;
    find("a.card").href = `listen.html#${encodeURIComponent(pair.id)}`;
    find("a.card").ariaLabel = `Listen to all that was made of ${pair.name}`;
    find(".how").textContent = pair.written ? "Said" : "Heard in the source";
    find(".said").textContent = pair.said || "nothing";
    const heard = find(".heard");
    for (const [word, right] of pair.heard) heard.append(right ? word : make("mark", word), " ");
    if (!pair.heard.length) heard.append(make("em", "nothing"));
    for (const kind of Object.keys(roles)) {
      if (pair.sounds[kind]) find(".players").append(player(pair, kind, pair.sounds[kind]));
    }
    pair.values.forEach((value, index) => {
      if (value === null || index === by || !measures[index].beside) return;
      const line = document.createElement("div");
      line.append(make("dt", measures[index].label), make("dd", shown(index, value)));
      find(".others").append(line);
    });
    return copy;
  };

  const arrange = () => {
    const { measure, row } = Object.fromEntries(new FormData(form));
    const by = Number(measure);
    const chosen = (pair) => (row === "" ? !rows[pair.row].reference : row === "*" || pair.row === Number(row));
    const found = pairs.filter((pair) => chosen(pair) && pair.bad[by] !== null);
    found.sort((a, b) => b.bad[by] - a.bad[by]);
    list.replaceChildren(...found.slice(0, worst).map((pair) => show(pair, by)));
    form.elements.count.value = `${Math.min(worst, found.length)} shown, the worst first`;
    document.getElementById("meaning").textContent = measures[by].meaning;
    document.getElementById("none").hidden = found.length > 0;
  };

  // One recording at a time: what starts last is heard.
  document.addEventListener("play", (event) => {
    for (const other of document.querySelectorAll("audio")) if (other !== event.target) other.pause();
  }, true);
  form.addEventListener("change", arrange);
  form.addEventListener("submit", (event) => event.preventDefault());
  const wanted = new URLSearchParams(location.search).get("row");
  const option = [...form.elements.row.options].find((each) => wanted !== null && each.dataset.row === wanted);
  if (option) form.elements.row.value = option.value;
  form.hidden = false;
  arrange();
})();
