"""How sure a figure is: 95 % intervals by bootstrap over speakers, and paired tests between rows.

Trials are not independent: all conversions of a source speaker share that voice, all into a target speaker that one.
So people are drawn with replacement, and a trial counts as often as its source speaker times its target speaker was
drawn: the pigeonhole bootstrap (Owen 2007, doi:10.1214/07-AOAS122). One who is source in some trials and target in
others is drawn once for both (as Davezies et al. 2021, doi:10.1214/20-AOS1981, for pairs of one population), and counts
once in a trial with herself. What these intervals hold in simulations stands in docs/EVALUATION.md.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtr, stdtrit

from vcpipe.errors import InputError
from vcpipe.measures import MEASURES, Measure

Line = Mapping[str, Any]
Floats = NDArray[np.float64]

LEVEL = 0.95
RESAMPLES = 2000
FEWEST = 3
"""Speakers on a side that can say how speakers differ; a side with fewer is taken as it is."""
CHUNK = 64
"""Resamples of an EER at once, so that they stay in the processor's cache."""


def summarise(
    judged: Sequence[Line], genuine: Sequence[Line], seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, dict[str, Any]]:
    """Every measure that has values, with its interval.

    Args:
        judged: lines of `judged.jsonl`.
        genuine: of natural recordings the `speaker` and the cosine `cos` to that speaker; without them no EER.
        seed: of the resamples.
        resamples: how many.

    Returns:
        Of each measure `value`, `low` and `high` (None where speakers are too few, see `docs/EVALUATION.md`), and `n`,
        the trials that it is of.
    """
    out = {}
    for measure in MEASURES:
        if lines := [line for line in judged if _has(measure, line)]:
            found = _bootstrap(measure, lines, genuine, seed, resamples)
            if found is not None:
                low, high = _interval(found, measure)
                out[measure.name] = {"value": found.value, "low": low, "high": high, "n": len(lines)}
    return out


def compare(
    a: Sequence[Line],
    b: Sequence[Line],
    genuine: Sequence[Line] = (),
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, dict[str, Any]]:
    """By how much `a` differs from `b` on the trials of both: the same source recording, the same target speaker.

    Args:
        a: lines of a row's `judged.jsonl`.
        b: of another's.
        genuine: as in `summarise`.
        seed: of the resamples; the same people are drawn for both rows.
        resamples: how many.

    Returns:
        Of each measure but costs that both have on some trials `difference` (a - b), `low`, `high`, the two-sided `p`
        (None where speakers are too few) and `n`, the trials. Empty where no trial is in both. Costs depend on the
        machine and on what it had at hand: people drawn anew say nothing about that.
    """
    of_a, of_b = _by_trial(a), _by_trial(b)
    common = sorted(of_a.keys() & of_b.keys())
    out = {}
    for measure in (measure for measure in MEASURES if measure.group != "cost"):
        keys = [key for key in common if _has(measure, of_a[key]) and _has(measure, of_b[key])]
        if keys:
            ours = _bootstrap(measure, [of_a[key] for key in keys], genuine, seed, resamples)
            theirs = _bootstrap(measure, [of_b[key] for key in keys], genuine, seed, resamples)
            if ours is not None and theirs is not None:
                out[measure.name] = _difference(ours, theirs) | {"n": len(keys)}
    return out


def holm(p: Sequence[float]) -> list[float]:
    """Holm's correction: each is what it would be if it were the only test, however many there are."""
    out, highest = [0.0] * len(p), 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        highest = max(highest, min(1.0, (len(p) - rank) * p[i]))
        out[i] = highest
    return out


def eer(converted: Floats, genuine: Floats) -> float:
    """The equal error rate of telling conversions `(N,)` from genuine recordings `(G,)` by their cosines.

    A fraction: where the threshold accepts as large a share of the conversions as it refuses of the genuine; between
    two thresholds the curve is a straight line. 0.5 where they cannot be told apart, more where conversions score
    higher than the genuine.
    """
    one = np.ones((1, len(converted))), np.ones((1, len(genuine)))
    return float(_eer_draws(np.sort(converted), np.sort(genuine), *one)[0])


@dataclass(frozen=True)
class _Bootstrap:
    """A statistic, and that of each resample `(R,)`: NaN where nothing was left, `R` = 0 where speakers are too few.

    `reach` is half an interval in standard deviations of the draws, `speakers` the fewest on a side.
    """

    value: float
    draws: Floats
    speakers: int
    narrow: float

    @property
    def reach(self) -> float:
        """Half an interval in standard deviations of the draws."""
        return float(stdtrit(self.speakers - 1, (1 + LEVEL) / 2)) / self.narrow


@dataclass(frozen=True)
class _Drawn:
    """How often each of `people` was drawn in each resample `(R, P)`, and which sides of a trial that concerns.

    `speakers` is how many the side with fewer of them has, of the sides that are drawn. `narrow` is by what factor
    resamples vary less than new samples would: n drawn from n by the root of (n - 1) / n. Of people who are drawn for
    both sides, trials of one drawn twice with herself are missing: that person counts w (n - w) times instead of w,
    which changes by (n - 2) / (n - 1) as much.
    """

    people: dict[str, int]
    counts: Floats
    sources: bool
    targets: bool
    speakers: int
    narrow: float

    def trials(self, sources: NDArray[np.intp], targets: NDArray[np.intp]) -> Floats:
        """How often trials count, `(R, N)`, of the indices `(N,)` of their people."""
        one = np.ones((len(self.counts), 1))
        of_sources = self.counts[:, sources] if self.sources else one
        of_targets = self.counts[:, targets] if self.targets else one
        if not (self.sources and self.targets):
            return np.broadcast_to(of_sources * of_targets, (len(self.counts), len(sources)))
        return np.where(sources == targets, of_sources, of_sources * of_targets)


def _draw(lines: Sequence[Line], genuine: Sequence[Line], seed: int, resamples: int) -> _Drawn:
    sources = {str(line["source_speaker"]) for line in lines}
    targets = {str(line["target_speaker"]) for line in lines}
    others = {str(line["speaker"]) for line in genuine}
    people = {name: i for i, name in enumerate(sorted(sources | targets | others))}
    drawn_sources = sources if len(sources) >= FEWEST else set()
    drawn_targets = targets if len(targets) >= FEWEST else set()
    speakers = min((len(side) for side in (drawn_sources, drawn_targets) if side), default=0)
    if not speakers:
        resamples = 0
    counts = np.ones((resamples, len(people)))
    rng = np.random.default_rng(seed)
    both = drawn_sources & drawn_targets
    for names in (both, drawn_sources - both, drawn_targets - both, others - drawn_sources - drawn_targets):
        if names:
            drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
            counts[:, [people[name] for name in sorted(names)]] = drawn
    narrow = math.sqrt((speakers - 1) / speakers) if speakers else 1.0
    if both and any(line["source_speaker"] != line["target_speaker"] for line in lines):
        narrow *= (speakers - 2) / (speakers - 1)
    return _Drawn(people, counts, bool(drawn_sources), bool(drawn_targets), speakers, narrow)


def _bootstrap(
    measure: Measure, lines: Sequence[Line], genuine: Sequence[Line], seed: int, resamples: int
) -> _Bootstrap | None:
    """None where a measure can't be made of what there is."""
    if measure.kind != "eer":
        genuine = ()
    elif not genuine:
        return None
    drawn = _draw(lines, genuine, seed, resamples)
    sources = np.array([drawn.people[line["source_speaker"]] for line in lines])
    targets = np.array([drawn.people[line["target_speaker"]] for line in lines])
    values, units = np.array([_value(measure, line) for line in lines], dtype=float).T
    if measure.kind != "eer":
        draws = _ratio_draws(values, units, sources, targets, drawn)
        return _Bootstrap(float(values.sum() / units.sum()), draws, drawn.speakers, drawn.narrow)
    natural = np.array([float(line["cos"]) for line in genuine])
    speakers = np.array([drawn.people[line["speaker"]] for line in genuine])
    order, order_natural = np.argsort(values), np.argsort(natural)
    sources, targets, speakers = sources[order], targets[order], speakers[order_natural]
    values, natural = values[order], natural[order_natural]
    pieces = [
        _eer_draws(values, natural, some.trials(sources, targets), some.counts[:, speakers]) for some in _chunks(drawn)
    ]
    return _Bootstrap(eer(values, natural), np.concatenate([np.empty(0), *pieces]), drawn.speakers, drawn.narrow)


def _chunks(drawn: _Drawn) -> list[_Drawn]:
    return [replace(drawn, counts=drawn.counts[i : i + CHUNK]) for i in range(0, len(drawn.counts), CHUNK)]


def _ratio_draws(
    values: Floats, units: Floats, sources: NDArray[np.intp], targets: NDArray[np.intp], drawn: _Drawn
) -> Floats:
    """Sums of values over sums of units, `(R,)`: by cells of source x target, of which there are fewer than trials."""
    n_people = len(drawn.people)
    cells, of_trial = np.unique(sources * n_people + targets, return_inverse=True)
    sums = np.stack([np.bincount(of_trial, weights=x) for x in (values, units)], axis=1)
    pieces = [some.trials(cells // n_people, cells % n_people) @ sums for some in _chunks(drawn)]
    top, bottom = np.concatenate([np.empty((0, 2)), *pieces]).T
    return np.divide(top, bottom, out=np.full(len(top), np.nan), where=bottom > 0)


def _eer_draws(converted: Floats, genuine: Floats, w_converted: Floats, w_genuine: Floats) -> Floats:
    """EERs `(R,)` of conversions `(N,)` and genuine scores `(G,)`, both sorted, that count `(R, N)` and `(R, G)` times.

    NaN where all of one kind count nothing.
    """
    thresholds = np.append(np.unique(np.concatenate([converted, genuine])), np.inf)
    below_converted, below_genuine = _sums(w_converted), _sums(w_genuine)
    at_converted, at_genuine = np.searchsorted(converted, thresholds), np.searchsorted(genuine, thresholds)
    rows = np.arange(len(w_converted))

    def refused(k: NDArray[np.intp]) -> tuple[Floats, Floats]:
        """Shares of the genuine and of the conversions below a threshold of each resample."""
        return below_genuine[rows, at_genuine[k]], below_converted[rows, at_converted[k]]

    first, last = np.ones_like(rows), np.full_like(rows, len(thresholds) - 1)
    while (first < last).any():  # the first threshold that refuses more genuine than it accepts conversions
        middle = (first + last) // 2
        enough = sum(refused(middle)) >= 1
        first, last = np.where(enough, first, np.minimum(middle + 1, last)), np.where(enough, middle, last)
    (start, other_start), (stop, other_stop) = refused(last - 1), refused(last)
    left, right = start + other_start - 1, stop + other_stop - 1
    return start + (stop - start) * -left / (right - left)


def _sums(weights: Floats) -> Floats:
    """The share of the weight `(R, N)` that stands before each place and at the end, `(R, N + 1)`."""
    sums = np.zeros((len(weights), weights.shape[1] + 1))
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    sums /= np.where(sums[:, -1:] > 0, sums[:, -1:], np.nan)
    return sums


def _interval(found: _Bootstrap, measure: Measure) -> tuple[float | None, float | None]:
    """From the 2.5 to the 97.5 % percentile of the resamples, each pushed away from the value as far as need be.

    That is by the factor that t with n - 1 degrees of freedom is over the normal distribution and that new samples vary
    over resamples, as Hesterberg 2015 (doi:10.1080/00031305.2015.1089789) widens them; n is small here. They end where
    the measure does, but take in the value in any case.
    """
    kept = _finite(found.draws)
    if kept is None:
        return None, None
    push = found.reach / float(ndtri((1 + LEVEL) / 2))
    low, high = np.quantile(kept, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    least = -math.inf if measure.least is None else min(measure.least, found.value)
    most = 1.0 if measure.kind in ("share", "eer") or measure.least is None else math.inf
    below, above = max(0.0, found.value - float(low)), max(0.0, float(high) - found.value)
    return max(least, found.value - push * below), min(most, found.value + push * above)


def _difference(a: _Bootstrap, b: _Bootstrap) -> dict[str, Any]:
    """The interval is symmetric about the difference, and leaves zero out just where p is under 0.05."""
    difference = a.value - b.value
    out: dict[str, Any] = {"difference": difference, "low": None, "high": None, "p": None}
    kept = _finite(a.draws - b.draws)
    if kept is None:
        return out
    error = float(np.std(kept))
    reach = a.reach * error
    if error > 1e-12:
        p = 2 * float(stdtr(a.speakers - 1, -abs(difference) * a.narrow / error))
    else:
        p = 1.0 if abs(difference) < 1e-12 else 0.0
    p = max(p, 1 / (len(kept) + 1))  # the data count as one more resample, so that none is without a doubt
    return out | {"low": difference - reach, "high": difference + reach, "p": p}


def _finite(draws: Floats) -> Floats | None:
    """The resamples in which something was left; None where those are not even half."""
    kept = draws[np.isfinite(draws)]
    return kept if len(draws) and 2 * len(kept) >= len(draws) else None


def _has(measure: Measure, line: Line) -> bool:
    if measure.kind == "rate":
        return bool(line.get(measure.keys[1]))
    return line.get(measure.keys[0]) is not None


def _value(measure: Measure, line: Line) -> tuple[float, float]:
    """Errors and units of a rate; else the value, and 1."""
    found = [float(line[key]) for key in measure.keys]
    if not all(map(math.isfinite, found)):
        raise InputError(
            f"trial {line.get('name', '?')}: key {measure.keys[0]}: expected a number, found {found[0]}; judge it again"
        )
    return (found[0], found[1]) if measure.kind == "rate" else (found[0], 1.0)


def _by_trial(lines: Sequence[Line]) -> dict[tuple[str, str, int], Line]:
    """By source, target, and the how manieth of these it is: a table may have one several times, in one order."""
    seen: Counter[tuple[str, str]] = Counter()
    out: dict[tuple[str, str, int], Line] = {}
    for line in lines:
        key = (line["source_utt"], line["target_speaker"])
        out[*key, seen[key]] = line
        seen[key] += 1
    return out
