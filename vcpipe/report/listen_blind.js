"use strict";
/* The blind comparison: two systems at a time, called A and B, and what a listener says of them. */

const blind = (() => {
  const section = document.getElementById("blind");
  const browse = document.getElementById("browse");
  const [setup, trial, score] = ["setup", "trial", "score"].map((id) => document.getElementById(id));
  const resume = document.getElementById("resume");
  const warning = setup.querySelector(".warning");
  const title = document.getElementById("blind-title");
  let listen = null;
  let key = ""; // under which the browser keeps the run: other figures, other key
  let run = null; // {seed, listener, started, at, trials}
  let since = 0;

  /* Mulberry32: the same draws for the same seed, in every browser. Returns numbers in [0, 1). */
  const random = (seed) => {
    let state = seed >>> 0;
    return () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = Math.imul(state ^ (state >>> 15), 1 | state);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    };
  };

  const shuffled = (items, draw) => {
    const out = [...items];
    for (let i = out.length - 1; i > 0; i--) {
      const j = Math.floor(draw() * (i + 1));
      [out[i], out[j]] = [out[j], out[i]];
    }
    return out;
  };

  /* The systems of a pair that may meet: two of them, or none where they are not there. */
  const meeting = (pair, one, two, draw) => {
    const there = [...new Map(pair.outputs.map((output) => [output[0], output])).keys()];
    const first = one === "" ? null : Number(one);
    const second = two === "" ? null : Number(two);
    const wanted = [first, second].filter((system) => system !== null);
    if (wanted.some((system) => !there.includes(system))) return null;
    const others = shuffled(there.filter((system) => !wanted.includes(system)), draw);
    const both = [...wanted, ...others].slice(0, 2);
    return both.length < 2 ? null : shuffled(both, draw);
  };

  const drawn = (pairs, one, two, seed) => {
    const draw = random(seed);
    return shuffled(pairs, draw).map((pair) => [pair, meeting(pair, one, two, draw)]).filter(([, both]) => both);
  };

  const keep = () => {
    try {
      if (run) localStorage.setItem(key, JSON.stringify(run));
      else localStorage.removeItem(key);
    } catch { /* a browser that keeps nothing: the run lives as long as the page */ }
  };

  const kept = () => {
    try { return JSON.parse(localStorage.getItem(key)); } catch { return null; }
  };

  const show = (part) => {
    for (const each of [setup, trial, score]) each.hidden = each !== part;
    title.focus({ preventScroll: true });
    scrollTo(0, 0);
  };

  const open = () => {
    player.stop();
    document.body.classList.add("comparing");
    browse.hidden = true;
    section.hidden = false;
    title.textContent = "Compare blind";
    const limit = drawn(listen.chosen(), "", "", 0).length;
    const { n, seed } = setup.elements;
    n.max = limit;
    n.value = Math.min(20, limit);
    if (!seed.value) seed.value = crypto.getRandomValues(new Uint32Array(1))[0];
    const before = run ?? kept();
    resume.hidden = !before;
    if (before) resume.textContent = before.at < before.trials.length
      ? `Go on with ${before.at + 1} of ${before.trials.length}` : "See the last answers";
    warning.hidden = true;
    show(setup);
  };

  const begin = (event) => {
    event.preventDefault();
    const { one, two, n, seed, listener } = setup.elements;
    const found = one.value && one.value === two.value ? []
      : drawn(listen.chosen(), one.value, two.value, Number(seed.value)).slice(0, Number(n.value));
    warning.hidden = found.length > 0;
    warning.textContent = "None of the chosen pairs has two such systems. Choose two different ones, or clear the filters.";
    if (!found.length) return;
    const of = (pair, system) => ({ row: listen.data.systems[system].row,
      stem: pair.outputs.find((output) => output[0] === system)[1] });
    run = {
      seed: Number(seed.value), listener: listener.value.trim(), at: 0, started: new Date().toISOString(),
      trials: found.map(([pair, [a, b]]) => ({ pair: pair.id, a: of(pair, a), b: of(pair, b), natural: null, voice: null,
        plays: { a: 0, b: 0, reference: 0 }, seconds: 0, answered: null })),
    };
    keep();
    ask();
  };

  const ask = () => {
    player.stop();
    if (run.at >= run.trials.length) return finish();
    const now = run.trials[run.at];
    const pair = listen.data.pairs.find(({ id }) => id === now.pair);
    const [utt] = pair.references;
    title.textContent = `Comparison ${run.at + 1} of ${run.trials.length}`;
    Object.assign(trial.querySelector("progress"), { max: run.trials.length, value: run.at });
    trial.querySelector("blockquote").textContent = pair.text || pair.echo;
    const output = (side) => pair.outputs.find((each) => each[1] === now[side].stem);
    const longest = Math.max(output("a")[2], output("b")[2], utt ? listen.natural(utt).seconds : 0);
    const figure = (side, about) => player.figure({ longest, kind: side, name: about.title, ...about,
      onplay: () => { now.plays[side] += 1; keep(); } });
    const bare = ({ src, seconds }) => ({ src, seconds });
    trial.querySelector(".media").replaceChildren(
      ...(utt ? [figure("reference", { ...bare(listen.natural(utt)), title: "Reference", gloss: "the voice", key: "r" })] : []),
      ...["a", "b"].map((side, i) => figure(side, { src: `media/${output(side)[1]}.wav`, seconds: output(side)[2],
        title: side.toUpperCase(), key: String(i + 1) })));
    for (const question of trial.querySelectorAll("[data-question]")) {
      const { question: name } = question.dataset;
      question.hidden = question.disabled = name === "voice" && !utt;
      for (const radio of question.querySelectorAll("input")) radio.checked = radio.value === now[name];
    }
    document.getElementById("back").disabled = run.at === 0;
    since = performance.now();
    return show(trial);
  };

  const answer = (event) => {
    event.preventDefault();
    const now = run.trials[run.at];
    for (const name of ["natural", "voice"]) {
      const fieldset = trial.querySelector(`[data-question="${name}"]`);
      now[name] = fieldset.disabled ? null : trial.elements[name].value;
    }
    now.seconds = Number((now.seconds + (performance.now() - since) / 1000).toFixed(1));
    now.answered = new Date().toISOString();
    run.at += 1;
    keep();
    ask();
  };

  const finish = () => {
    title.textContent = "What you heard";
    scoring.show(run, listen.data);
    show(score);
  };

  const close = () => {
    player.stop();
    document.body.classList.remove("comparing");
    section.hidden = true;
    browse.hidden = false;
    trial.querySelector(".media").replaceChildren();
    listen.back();
  };

  const ready = (page) => {
    listen = page;
    key = `vcpipe-blind ${page.data.systems.map(({ protocol }) => protocol.slice(0, 12)).join(" ")}`;
    document.getElementById("compare").disabled = !drawn(page.data.pairs, "", "", 0).length;
  };

  setup.addEventListener("submit", begin);
  trial.addEventListener("submit", answer);
  resume.addEventListener("click", () => { run = run ?? kept(); ask(); });
  document.getElementById("back").addEventListener("click", () => { run.at -= 1; keep(); ask(); });
  document.getElementById("discard").addEventListener("click", () => {
    if (!confirm("Throw away the answers of this comparison?")) return;
    run = null;
    keep();
    close();
  });
  document.getElementById("download").addEventListener("click", () => scoring.download(run, listen.data));
  for (const button of section.querySelectorAll(".leave")) button.addEventListener("click", close);

  return { open, ready, close, shown: () => !section.hidden, running: () => (section.hidden ? null : trial.querySelector(".media")) };
})();
