"use strict";
(() => {
  const form = document.getElementById("filter");
  const list = document.getElementById("list");
  const articles = [...list.children];

  const arrange = () => {
    const { from, to, order } = Object.fromEntries(new FormData(form));
    const key = order.replace("-", "");
    const sign = order.startsWith("-") ? -1 : 1;
    const rank = (article) => sign * Number(article.dataset[key]);
    const sorted = [...articles].sort((a, b) => rank(a) - rank(b) || a.dataset.order - b.dataset.order);
    let count = 0;
    for (const article of sorted) {
      article.hidden = (from && article.dataset.from !== from) || (to && article.dataset.to !== to);
      if (article.hidden) article.querySelectorAll("audio").forEach((player) => player.pause());
      count += article.hidden ? 0 : 1;
    }
    list.append(...sorted);
    form.elements.count.value = `${count} of ${articles.length}`;
    document.getElementById("none").hidden = count > 0;
  };

  // One recording at a time: what starts last is heard.
  document.addEventListener("play", (event) => {
    for (const player of document.querySelectorAll("audio")) if (player !== event.target) player.pause();
  }, true);
  form.addEventListener("change", arrange);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  arrange();
  if (location.hash) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
})();
