"use strict";
/* Sounds with their pictures. One <audio> plays for the whole page: two can never be heard at once, and nothing is
   asked for before it is played. */

const make = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(key, "");
    else if (value !== false && value != null) node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
};

const player = (() => {
  const audio = document.getElementById("player");
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const about = new WeakMap(); // figure -> {src, seconds, button, slider, head, time, name, onplay}
  let current = null;

  const clock = (seconds) => seconds.toFixed(1);

  const draw = (figure, at) => {
    const { seconds, slider, head, time } = about.get(figure);
    head.style.left = `${(100 * Math.min(at / seconds, 1)).toFixed(2)}%`;
    slider.value = at;
    slider.setAttribute("aria-valuetext", `${clock(at)} of ${clock(seconds)} seconds`);
    time.textContent = at > 0 ? `${clock(at)} / ${clock(seconds)} s` : `${clock(seconds)} s`;
  };

  const label = () => {
    if (!current) return;
    const { button, name } = about.get(current);
    button.setAttribute("aria-label", `${audio.paused ? "Play" : "Pause"} ${name}`);
    current.classList.toggle("playing", !audio.paused);
  };

  const stop = () => {
    audio.pause();
    if (!current) return;
    label();
    current.classList.remove("current");
    if (about.has(current)) draw(current, 0);
    current = null;
  };

  const load = (figure, at) => {
    if (current !== figure) {
      stop();
      current = figure;
      figure.classList.add("current");
      audio.src = about.get(figure).src;
    }
    audio.currentTime = at;
    draw(figure, at);
  };

  const play = (figure, at = 0) => {
    load(figure, Math.min(at, about.get(figure).seconds));
    about.get(figure).onplay?.();
    audio.play().catch((error) => {
      if (error.name === "AbortError" || current !== figure) return; // another one was started meanwhile
      figure.classList.add("broken");
      about.get(figure).time.textContent = "cannot be played";
    });
  };

  const toggle = (figure) => {
    if (figure !== current || audio.ended) play(figure);
    else if (audio.paused) audio.play();
    else audio.pause();
  };

  const tick = () => {
    if (current && !audio.seeking) draw(current, audio.ended ? 0 : audio.currentTime);
    if (!audio.paused && !still.matches) requestAnimationFrame(tick);
  };
  audio.addEventListener("play", () => { label(); tick(); });
  audio.addEventListener("pause", label);
  audio.addEventListener("timeupdate", () => { if (still.matches || audio.paused) tick(); });
  audio.addEventListener("ended", () => { label(); tick(); });

  const ticks = (kind, places) => make("span", { class: kind, "aria-hidden": "true" }, ...places.map(([text, height]) => {
    const tick = make("i", {}, text);
    tick.style.bottom = `${100 * height}%`;
    return tick;
  }));

  /* A figure that plays. `longest`: seconds that the whole width stands for; `axes`: of the picture, none without one. */
  const figure = ({ src, picture, seconds, longest, kind, title, gloss, key, name, axes, onplay }) => {
    const button = make("button", { type: "button", class: "play", "aria-label": `Play ${name}` }, make("span"));
    const time = make("span", { class: "seconds" }, `${clock(seconds)} s`);
    const head = make("i", { class: "head", "aria-hidden": "true" });
    const slider = make("input", { type: "range", min: 0, max: seconds, step: 0.05, value: 0,
      "aria-label": `Position in ${name}` });
    const strip = make("div", { class: "strip" }, picture && make("img", { src: picture, loading: "lazy", decoding: "async",
      alt: `Spectrogram and pitch of ${name}, ${clock(seconds)} seconds` }), head, slider);
    strip.style.width = `${100 * seconds / longest}%`;
    const plot = make("div", { class: picture ? "plot" : "plot bare" },
      picture && ticks("frequencies", axes.hz), make("div", { class: "frame" }, strip), picture && ticks("pitches", axes.pitch));
    const node = make("figure", { class: `sound ${kind}`, "data-key": key },
      make("figcaption", {}, button, make("span", { class: "title" }, make("strong", {}, title), " ",
        gloss && make("span", { class: "gloss" }, gloss)), make("span", { class: "aside" }, key && make("kbd", { "aria-hidden": "true" }, key), time)), plot);
    about.set(node, { src, seconds, button, slider, head, time, name, onplay });
    button.addEventListener("click", () => toggle(node));
    slider.addEventListener("input", () => load(node, Number(slider.value)));
    slider.addEventListener("click", () => { if (audio.paused || current !== node) play(node, Number(slider.value)); });
    return node;
  };

  /* Keys that mean the same wherever sounds are; `root`: where the figures are. Returns whether the key was one. */
  const press = (event, root) => {
    const digit = event.code.startsWith("Digit") || event.code.startsWith("Numpad") ? event.code.slice(-1) : "";
    const wanted = /^[1-9]$/.test(digit) ? digit : event.key.toLowerCase();
    const chosen = /^[1-9sr]$/.test(wanted) ? root?.querySelector(`[data-key="${wanted}"]`) : null;
    if (chosen) {
      if (event.shiftKey) play(chosen, current ? audio.currentTime : 0);
      else if (digit && chosen === current && !audio.paused) play(chosen);
      else toggle(chosen);
    } else if (event.key === "Escape" && current) stop();
    else if (event.key === " " && current) toggle(current);
    else if (event.key === "ArrowLeft" && current) load(current, Math.max(audio.currentTime - 1, 0));
    else if (event.key === "ArrowRight" && current) load(current, Math.min(audio.currentTime + 1, about.get(current).seconds));
    else return false;
    return true;
  };

  return { figure, play, stop, press };
})();
