"use strict";
/* What the answers of a blind comparison come to, and the file that they are kept in. */

const scoring = (() => {
  const QUESTIONS = { natural: "more natural", voice: "more like the reference" };

  /* The two-sided p of a sign test: how often a fair coin falls at least as unevenly. */
  const signTest = (wins, losses) => {
    const n = wins + losses;
    let share = 0;
    let chance = 0.5 ** n;
    for (let k = 0; k <= Math.min(wins, losses); k++) {
      share += chance;
      chance *= (n - k) / (k + 1);
    }
    return Math.min(1, 2 * share);
  };

  const preferred = (trial, question) => (trial[question] === "a" || trial[question] === "b" ? trial[trial[question]].row : null);

  /* For every two systems that met and every question: wins of the one and of the other, and draws. */
  const summary = (run) => {
    const rows = new Map();
    for (const trial of run.trials) {
      const [one, two] = [trial.a.row, trial.b.row].sort();
      for (const question of Object.keys(QUESTIONS)) {
        if (!trial[question]) continue;
        const row = rows.get(`${one}\n${two}\n${question}`) ?? { one, two, question, one_wins: 0, two_wins: 0, same: 0 };
        const winner = preferred(trial, question);
        row[winner === null ? "same" : winner === one ? "one_wins" : "two_wins"] += 1;
        rows.set(`${one}\n${two}\n${question}`, row);
      }
    }
    return [...rows.values()].map((row) => ({ ...row, p: Number(signTest(row.one_wins, row.two_wins).toPrecision(3)) }));
  };

  const report = (run, data) => {
    const met = new Set(run.trials.flatMap((trial) => [trial.a.row, trial.b.row]));
    return {
      format: "vcpipe-blind-1",
      listener: run.listener,
      seed: run.seed,
      started: run.started,
      finished: run.trials.at(-1).answered,
      systems: Object.fromEntries(data.systems.filter(({ row }) => met.has(row))
        .map(({ row, label, protocol }) => [row, { label, protocol }])),
      trials: run.trials.map(({ pair: id, a, b, ...rest }) => {
        const pair = data.pairs.find((each) => each.id === id);
        return { pair: id, source_utt: pair.utt, target_speaker: pair.to, reference_utt: pair.references[0] ?? "",
          a: a.row, b: b.row, media: { a: a.stem, b: b.stem }, ...rest,
          more_natural: preferred(rest.natural ? { a, b, ...rest } : {}, "natural"),
          more_like_the_reference: preferred(rest.voice ? { a, b, ...rest } : {}, "voice") };
      }),
      summary: summary(run),
    };
  };

  const show = (run, data) => {
    const label = (row) => data.systems.find((system) => system.row === row).label;
    const cells = (tag, words) => words.map((word) => make(tag, tag === "th" ? { scope: "col" } : {}, String(word)));
    const left = (text) => make("th", { scope: "col", class: "words" }, text);
    const body = summary(run).map((row) => make("tr", {}, make("th", { scope: "row", class: "words" },
      `${label(row.one)} and ${label(row.two)}`), make("td", { class: "words" }, QUESTIONS[row.question]),
    ...cells("td", [row.one_wins, row.same, row.two_wins, row.p.toPrecision(2)])));
    document.querySelector("#score table").replaceChildren(
      make("thead", {}, make("tr", {}, left("Systems"), left("Which is"),
        ...cells("th", ["the first", "no difference", "the second", "p"]))),
      make("tbody", {}, ...body));
    const said = (trial, question) => (trial[question] === "same" ? "no difference" : label(preferred(trial, question)));
    document.getElementById("answers").replaceChildren(...run.trials.map((trial) => make("li", {},
      make("a", { href: `#${trial.pair}` }, trial.pair), ` A was ${label(trial.a.row)}, B ${label(trial.b.row)}: `,
      Object.keys(QUESTIONS).filter((question) => trial[question])
        .map((question) => `${QUESTIONS[question]}: ${said(trial, question)}`).join("; "))));
  };

  const download = (run, data) => {
    const file = new Blob([`${JSON.stringify(report(run, data), null, 1)}\n`], { type: "application/json" });
    const link = make("a", { href: URL.createObjectURL(file), download: `blind-${run.started.slice(0, 16).replace(/[^0-9]/g, "")}.json` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };

  return { show, download };
})();
