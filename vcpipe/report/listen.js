"use strict";
/* The pairs: which are shown, in which order, and their cards. */

const listen = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const form = document.getElementById("filter");
  const list = document.getElementById("list");
  const pager = document.getElementById("pager");
  const PER_PAGE = 10;
  const [STEM, SECONDS, HEARD, WRONG, COUNTS, VALUES] = [1, 2, 3, 4, 5, 6]; // of an output; its first is the system
  const SEXES = { f: "a woman", m: "a man" };
  const FIELDS = ["from", "to", "fromsex", "tosex", "kind", "order", "q"];
  const measures = data.measures;
  const places = new Map(data.pairs.map((pair, place) => [pair.id, place]));
  data.pairs.forEach((pair) => {
    pair.same = pair.from === pair.to;
    pair.words = [pair.id, pair.utt, pair.from, pair.to, pair.text, pair.echo, ...pair.outputs.map((o) => o[HEARD])]
      .join("\n").toLowerCase();
  });
  const kindAtFirst = data.pairs.some((pair) => !pair.same) ? "other" : "";
  let chosen = data.pairs; // the pairs that fit, in order
  let page = 0;

  const value = (name) => form.elements[name].value;
  const shown = () => new Set([...form.querySelectorAll("[name=show]:checked")].map((box) => Number(box.value)));
  const number = (measure, at) => at == null ? "–" : `${at.toFixed(measure.digits)}${measure.unit && ` ${measure.unit}`}`;

  /* How bad a value is, larger is worse; the same as the merit of vcpipe.measures, upside down. */
  const fault = (measure, at) => {
    if (at == null) return -Infinity;
    if (measure.better === "one") return at > 0 ? Math.abs(Math.log(at)) : Infinity;
    return measure.better === "lower" ? at : -at;
  };

  const choose = () => {
    const [from, to, fromsex, tosex, kind, order, q] = FIELDS.map(value);
    const systems = shown();
    const words = q.toLowerCase().split(/\s+/).filter(Boolean);
    chosen = data.pairs.filter((pair) => (!from || pair.from === from) && (!to || pair.to === to)
      && (!fromsex || data.sexes[pair.from] === fromsex) && (!tosex || data.sexes[pair.to] === tosex)
      && (!kind || pair.same === (kind === "same")) && words.every((word) => pair.words.includes(word))
      && pair.outputs.some((output) => systems.has(output[0])));
    const at = measures.findIndex((measure) => measure.name === order);
    if (at < 0) return;
    const worst = new Map(chosen.map((pair) => [pair, Math.max(...pair.outputs
      .filter((output) => systems.has(output[0])).map((output) => fault(measures[at], output[VALUES][at])))]));
    chosen.sort((a, b) => (worst.get(b) === worst.get(a) ? 0 : worst.get(b) - worst.get(a)));
  };

  const heard = (output) => {
    if (!output[HEARD]) return make("em", {}, "nothing");
    const wrong = new Set(output[WRONG]);
    const words = output[HEARD].split(/\s+/).filter(Boolean);
    return make("span", {}, ...words.flatMap((word, i) => [i ? " " : "", wrong.has(i) ? make("mark", {}, word) : word]));
  };

  const likeness = (output) => {
    const [target, source] = ["cos_target", "cos_source"].map((name) =>
      output[VALUES][measures.findIndex((measure) => measure.name === name)]);
    if (target == null || source == null) return null;
    const dot = (kind, at) => {
      const node = make("i", { class: kind });
      node.style.left = `${100 * Math.min(Math.max(at, 0), 1)}%`;
      return node;
    };
    return make("div", { class: "likeness" }, make("dt", {}, "Similarity to the voices"), make("dd", {},
      make("span", { class: "scale", "aria-hidden": "true" }, dot("s", source), dot("t", target)),
      make("span", { class: "key t" }, `target ${target.toFixed(2)}`),
      make("span", { class: "key s" }, `source ${source.toFixed(2)}`)));
  };

  const numbers = (pair, output) => {
    const [errors, words] = output[COUNTS];
    const before = pair.source_errors == null ? null : make("small", {}, `in the source ${pair.source_errors}`);
    return make("dl", { class: "numbers" },
      make("div", { class: "wide" }, make("dt", {}, "Heard as"), make("dd", { class: "heard" }, heard(output))),
      words ? make("div", {}, make("dt", {}, "Words misheard"), make("dd", {}, `${errors} of ${words}`, before)) : null,
      likeness(output));
  };

  const table = (outputs) => {
    const used = measures.map((measure, i) => [measure, i]).filter(([, i]) => outputs.some((o) => o[VALUES][i] != null));
    const head = outputs.map((output) => make("th", { scope: "col" }, data.systems[output[0]].label));
    return make("div", { class: "table", tabindex: 0, role: "region", "aria-label": "All numbers of the pair" },
      make("table", {}, make("thead", {}, make("tr", {}, make("th"), ...head)),
        make("tbody", {}, ...used.map(([measure, i]) => make("tr", {},
          make("th", { scope: "row", title: measure.meaning }, measure.label),
          ...outputs.map((output) => make("td", {}, number(measure, output[VALUES][i]))))))));
  };

  const natural = (utt) => {
    const [stem, seconds] = data.sounds[utt];
    return { src: `media/${stem}.flac`, picture: `media/${stem}.png`, seconds };
  };

  const card = (pair, systems) => {
    const outputs = pair.outputs.filter((output) => systems.has(output[0]));
    const longest = Math.max(...[pair.utt, ...pair.references].map((utt) => data.sounds[utt][1]),
      ...outputs.map((output) => output[SECONDS]));
    const figure = (about) => player.figure({ longest, axes: data.ticks, ...about });
    const given = [figure({ ...natural(pair.utt), kind: "source", title: "Source", gloss: "what is said", key: "s",
      name: `source: ${pair.from}, ${pair.id}` })];
    pair.references.forEach((utt, i) => given.push(figure({ ...natural(utt), kind: "reference", title: "Reference",
      gloss: "whose voice", key: i ? null : "r", name: `reference ${utt}: ${pair.to}, ${pair.id}` })));
    const made = outputs.map((output, i) => {
      const system = data.systems[output[0]];
      const node = figure({ src: `media/${output[STEM]}.wav`, picture: `media/${output[STEM]}.png`, kind: system.kind,
        seconds: output[SECONDS], title: system.label, key: i < 9 ? String(i + 1) : null,
        name: `${system.label}: ${pair.id}` });
      node.append(numbers(pair, output));
      return node;
    });
    const details = make("details", {}, make("summary", {}, "All numbers"));
    details.addEventListener("toggle", () => { if (details.children.length < 2) details.append(table(outputs)); });
    const [words, unsure] = pair.text ? [pair.text, false] : [pair.echo, true];
    return make("article", { id: pair.id, tabindex: -1, "aria-labelledby": `${pair.id}-title` },
      make("header", {}, make("h3", { id: `${pair.id}-title` }, pair.from, " ",
        make("span", { class: "to", role: "img", "aria-label": "turned into" }, "→"), " ", pair.to),
      make("a", { class: "anchor", href: `#${pair.id}`, "aria-label": `Link to ${pair.id}` }, pair.id)),
      words ? make("blockquote", {}, words, unsure ? make("small", {}, " as a recogniser heard the source") : null) : null,
      make("div", { class: "media" }, make("div", {}, ...given), make("div", {}, ...made)), details);
  };

  const draw = () => {
    player.stop();
    const pages = Math.max(1, Math.ceil(chosen.length / PER_PAGE));
    page = Math.min(Math.max(page, 0), pages - 1);
    const systems = shown();
    const from = page * PER_PAGE;
    const now = chosen.slice(from, from + PER_PAGE);
    list.replaceChildren(...now.map((pair) => card(pair, systems)));
    const count = (n) => n.toLocaleString("en");
    const part = pages > 1 ? `${count(from + 1)} to ${count(from + now.length)} of ` : "";
    const all = chosen.length < data.pairs.length ? ` chosen from ${count(data.pairs.length)}` : "";
    form.elements.count.value = `${part}${count(chosen.length)}${all} pairs`;
    document.getElementById("none").hidden = chosen.length > 0;
    document.getElementById("reset").hidden = !search().size;
    pager.hidden = pages < 2;
    const select = pager.querySelector("select");
    if (select.length !== pages) {
      select.replaceChildren(...Array.from({ length: pages }, (_, i) => make("option", { value: i }, `${i + 1} of ${pages}`)));
    }
    select.value = page;
    pager.querySelector("[data-step='-1']").disabled = page === 0;
    pager.querySelector("[data-step='1']").disabled = page === pages - 1;
  };

  /* The choice as it stands in the address, without what is as at first. */
  const search = () => {
    const params = new URLSearchParams();
    for (const name of FIELDS) if (value(name) !== (name === "kind" ? kindAtFirst : "")) params.set(name, value(name));
    const systems = shown();
    if (systems.size < data.systems.length) params.set("show", data.systems.filter((_, i) => systems.has(i))
      .map((system) => system.row).join(" "));
    if (page) params.set("page", page + 1);
    return params;
  };

  const remember = () => history.replaceState(null, "", `#${search()}`);

  const recall = (params) => {
    for (const name of FIELDS) {
      form.elements[name].value = params.get(name) ?? (name === "kind" ? kindAtFirst : "");
      if (form.elements[name].selectedIndex === -1) form.elements[name].selectedIndex = 0;
    }
    const rows = params.has("show") ? new Set(params.get("show").split(" ")) : null;
    for (const box of form.querySelectorAll("[name=show]")) {
      box.checked = !rows || rows.has(data.systems[Number(box.value)].row);
    }
    page = Number(params.get("page") ?? 1) - 1 || 0;
    choose();
    draw();
  };

  const focus = (article) => {
    list.querySelector(".here")?.classList.remove("here");
    if (!article) return;
    article.classList.add("here");
    article.focus({ preventScroll: true });
    article.scrollIntoView({ block: "start" });
  };

  const visit = () => {
    const hash = decodeURIComponent(location.hash.slice(1));
    if (hash === "blind") {
      if (!list.childElementCount) recall(new URLSearchParams());
      return blind.open();
    }
    if (blind.shown()) blind.close();
    if (!places.has(hash)) return recall(new URLSearchParams(location.hash.slice(1)));
    const pair = data.pairs[places.get(hash)];
    if (!chosen.includes(pair)) recall(new URLSearchParams({ kind: "" }));
    page = Math.floor(chosen.indexOf(pair) / PER_PAGE);
    draw();
    return focus(document.getElementById(hash));
  };

  const step = (by) => {
    const cards = [...list.children];
    const here = cards.findIndex((article) => article.classList.contains("here"));
    const next = here < 0 ? 0 : here + by;
    if (next >= 0 && next < cards.length) return focus(cards[next]);
    const before = page;
    page += by;
    draw();
    if (page === before) return focus(list.children[here]);
    remember();
    return focus(by > 0 ? list.firstElementChild : list.lastElementChild);
  };

  const back = () => {
    if (location.hash === "#blind") remember();
  };

  const turn = (to) => {
    page = to;
    draw();
    remember();
    list.scrollIntoView();
  };

  const change = () => { page = 0; choose(); draw(); remember(); };

  document.addEventListener("keydown", (event) => {
    const at = event.target;
    if (event.ctrlKey || event.metaKey || event.altKey || at.matches("select, textarea, input:not([type=checkbox], [type=range], [type=radio])")) return;
    if (event.key === " " && at.matches("button, summary, input, a")) return;
    if (event.key.startsWith("Arrow") && at.matches("[type=range], [type=radio]")) return;
    const card = at.closest?.("article") ?? list.querySelector(".here") ?? list.firstElementChild;
    if (player.press(event, blind.running() ?? card)) event.preventDefault();
    else if (blind.running()) return;
    else if (event.key === "j" || event.key === "k") step(event.key === "j" ? 1 : -1);
    else if (event.key === "/") { event.preventDefault(); form.elements.q.focus(); }
  });
  list.addEventListener("focusin", (event) => {
    list.querySelector(".here")?.classList.remove("here");
    event.target.closest("article")?.classList.add("here");
  });
  form.addEventListener("input", change);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("click", ({ target }) => {
    if (!target.dataset.show) return;
    for (const box of form.querySelectorAll("[name=show]")) box.checked = target.dataset.show === "all";
    change();
  });
  document.getElementById("reset").addEventListener("click", () => { recall(new URLSearchParams()); remember(); });
  document.getElementById("compare").addEventListener("click", () => { location.hash = "blind"; });
  pager.addEventListener("click", ({ target }) => { if (target.dataset.step) turn(page + Number(target.dataset.step)); });
  pager.addEventListener("change", ({ target }) => turn(Number(target.value)));
  addEventListener("hashchange", visit);

  const fill = (name, words) => form.elements[name].append(...words.map(([at, text]) => make("option", { value: at }, text)));
  const speakers = (end) => [...new Set(data.pairs.map((pair) => pair[end]))].sort().map((who) => [who, who]);
  fill("from", speakers("from"));
  fill("to", speakers("to"));
  for (const name of ["fromsex", "tosex"]) fill(name, [["", "anyone"], ...Object.entries(SEXES)]);
  for (const label of form.querySelectorAll(".sexed")) label.hidden = !Object.keys(data.sexes).length;
  form.querySelector(".kinds").hidden = new Set(data.pairs.map((pair) => pair.same)).size < 2;
  fill("order", measures.filter((measure, i) => measure.better && data.pairs.some((pair) =>
    pair.outputs.some((output) => output[VALUES][i] != null))).map((measure) => [measure.name, `worst ${measure.label} first`]));

  return { data, visit, natural, chosen: () => chosen, back };
})();
blind.ready(listen);
listen.visit();
