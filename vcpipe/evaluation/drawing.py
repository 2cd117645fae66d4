"""How trials are drawn of a corpus: by a protocol, or a few for where there is no table. Standard library only."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import chain, zip_longest

from vcpipe.errors import InputError
from vcpipe.manifest import Utterance, by_speaker
from vcpipe.trials import OTHERS, Pools, References, Trial, seconds


@dataclass(frozen=True)
class Protocol:
    """What is drawn: so many speakers, sources of each, and targets of each source; 0 means all.

    A source is of `split` (empty: any) and from `min_s` to `max_s` long; a target has `min_reference_s` beside its own
    sources, of which `reference_s` are heard (0: all).
    """

    speakers: int
    sources: int
    targets: int
    split: str = "test"
    min_s: float = 3.0
    max_s: float = 15.0
    min_reference_s: float = 10.0
    reference_s: float = 0.0
    seed: int = 0


PROTOCOLS = {
    "paper": Protocol(40, 5, 0),  # of kNN-VC (arXiv 2305.18975): 200 sources of LibriSpeech test-clean to 39 others
    "small": Protocol(10, 3, 3),
    "unseen": Protocol(0, 5, 0),  # for the speakers that a training did not hear
}


def draw_trials(
    utterances: list[Utterance],
    protocol: Protocol,
    seen: Set[str] | None = None,
    seen_sources: bool = False,
    sexes: Mapping[str, str] | None = None,
) -> list[Trial]:
    """Trials between speakers of a corpus, each of whom is a target equally often; sources are nobody's references.

    The order of `utterances` does not matter, and what is drawn of a speaker does not depend on the other speakers.

    Args:
        utterances: of the corpus; the references come from all of its splits.
        protocol: how many of what.
        seen: speakers of a training. None of them is a target, nor a source unless `seen_sources`.
        seen_sources: the sources are those of `seen` instead.
        sexes: of speakers, F or M, where they are known: of both are drawn equally many, in turn.

    Raises:
        InputError: when there are too few speakers, or one has too few utterances to leave references.
    """
    pools: Pools = dict(by_speaker(utterances))
    if protocol.split and not any(u.split == protocol.split for u in utterances):
        there = ", ".join(f"{n} of {name}" for name, n in sorted(Counter(u.split for u in utterances).items()))
        raise InputError(f"--split {protocol.split}: expected utterances of it, found {there or 'none'}; give another")
    if not seen and (seen_sources or seen is not None):
        raise InputError("--unseen-in: expected the manifest of a training, with utterances of train; give one")
    speakers = [s for s in pools if seen is None or s not in seen]
    needed_s = max(protocol.min_reference_s, protocol.reference_s)
    if seen is not None and seen_sources:
        sources = _drawn(pools, [s for s in pools if s in seen], protocol, protocol.sources, 0.0, sexes or {})
        targets = list(_drawn(pools, speakers, protocol, 0, needed_s, sexes or {}))
    else:
        sources = _drawn(pools, speakers, protocol, protocol.sources, needed_s, sexes or {})
        targets = list(sources)
    most = len(targets) - (targets[0] in sources)
    count = protocol.targets or most
    if not 0 < count <= most:
        raise InputError(
            f"trials: expected {protocol.targets or 'other'} targets for each source, found {most}; add speakers, or "
            "ask for fewer --targets"
        )
    references = References(utterances, {u.utt_id for picked in sources.values() for u in picked})
    trials = []
    for i, (speaker, picked) in enumerate(sources.items()):
        first = targets.index(speaker) if speaker in targets else i * protocol.sources * count % len(targets)
        others = [s for s in targets[first:] + targets[:first] if s != speaker]
        for place in range(len(picked) * count):
            target = others[place % len(others)]
            heard = references(target, OTHERS, protocol.reference_s, "trials")
            trial = Trial(picked[place // count], target, heard, protocol.reference_s, protocol.seed, OTHERS)
            trials.append(trial)
    return sorted(trials, key=lambda t: (t.source.utt_id, t.target))


def draw_demo_trials(utterances: list[Utterance], count: int, seed: int) -> list[Trial]:
    """`count` conversions of held-out utterances, sources and targets taken in turn: for where there is no table.

    Sources come from the split test, else valid, else train. The references are the target's training utterances,
    or all of them where there are none.
    """
    splits = {u.split for u in utterances}
    held_out = next(split for split in ("test", "valid", "train") if split in splits)
    pools = dict(by_speaker(utterances))
    if len(pools) < 2:
        raise InputError(f"trials: expected at least two speakers, found {len(pools)}; add a speaker to the corpus")
    sources = sorted((u for u in utterances if u.split == held_out), key=lambda u: u.utt_id)
    random.Random(seed).shuffle(sources)
    trials = []
    for i, source in enumerate(sources[:count]):
        others = [s for s in pools if s != source.speaker]
        target = others[i % len(others)]
        trained_on = [u for u in pools[target] if u.split == "train"]
        named = "train" if trained_on else ""
        trials.append(Trial(source, target, tuple(trained_on or pools[target]), seed=seed, named=named))
    return sorted(trials, key=lambda t: (t.source.utt_id, t.target))


def trained_speakers(utterances: Iterable[Utterance]) -> set[str]:
    """The speakers whom a training on these utterances hears: those of train and of valid."""
    return {u.speaker for u in utterances if u.split in ("train", "valid")}


def _drawn(
    pools: Pools, among: Sequence[str], protocol: Protocol, n_sources: int, needed_s: float, sexes: Mapping[str, str]
) -> Pools:
    """Speakers who have enough, in the order in which they follow one another as targets, with their sources."""
    good, fault = {}, ""
    for speaker in among:
        picked = _picked(pools[speaker], protocol, n_sources)
        left_s = seconds(u for u in pools[speaker] if u not in picked)
        if len(picked) == n_sources and left_s >= needed_s:
            good[speaker] = picked
        else:
            has = f"{len(picked)} utterances" if len(picked) < n_sources else f"{left_s:.1f} s of references"
            fault = fault or f"; {speaker} has {has}"
    count = protocol.speakers or len(among)
    if not good or len(good) < count:
        of = f" of the split {protocol.split}" if protocol.split else ""
        sources = f"{n_sources} utterances{of} of {protocol.min_s:g} to {protocol.max_s:g} s and " if n_sources else ""
        raise InputError(
            f"trials: expected {count or 'some'} speakers with {sources}{needed_s:g} s of references beside, found "
            f"{len(good)} of {len(among)}{fault}; ask for fewer --speakers or --sources, for other lengths (--min-s, "
            "--max-s), or for less --min-reference-s and --reference-s"
        )
    order = sorted(good)
    random.Random(protocol.seed).shuffle(order)
    by_sex = [[s for s in order if sexes.get(s) == sex] for sex in ("F", "M")]
    in_turn = [s for s in chain(*zip_longest(*by_sex)) if s]
    in_turn += [s for s in order if s not in in_turn]
    return {speaker: good[speaker] for speaker in in_turn[:count]}


def _picked(theirs: list[Utterance], protocol: Protocol, count: int) -> list[Utterance]:
    """Utterances of a speaker that can be sources, those with a text first."""
    fitting = [u for u in theirs if not protocol.split or u.split == protocol.split]
    fitting = [u for u in fitting if protocol.min_s <= seconds([u]) <= protocol.max_s]
    random.Random(f"{protocol.seed} {theirs[0].speaker}").shuffle(fitting)
    return sorted(fitting, key=lambda u: not u.text)[:count]
