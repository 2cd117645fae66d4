"""The stage: from shards to the run folder of an acoustic model."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vcpipe.buckets import Buckets
from vcpipe.columns import Column, Variant
from vcpipe.data import Whole, fixed_subset
from vcpipe.errors import InputError
from vcpipe.grid import Grid
from vcpipe.loader import Batch, Loader
from vcpipe.manifest import Utterance, read_table, shard_names
from vcpipe.settings import Slice, canonical, check
from vcpipe.store import Shard
from vcpipe.systems.softvc import embed, statistics, task
from vcpipe.systems.softvc.checkpoints import Base, published
from vcpipe.systems.softvc.condition import columns
from vcpipe.systems.softvc.config import AcousticTraining
from vcpipe.systems.softvc.literal_settings import ROLES
from vcpipe.systems.softvc.slices import STREAMS
from vcpipe.systems.softvc.statistics import Voice
from vcpipe.training import machine
from vcpipe.training.loop import Loaders
from vcpipe.training.loop import train as run_loop
from vcpipe.training.runs import Info
from vcpipe.training.settings import check_machine
from vcpipe.weights import read_safetensors

log = logging.getLogger(__name__)

Places = Mapping[str, Any]
"""Of one corpus: `manifest` and `statistics` (files), and of every stream the folders of its variants."""


def train_acoustic(
    made_by: Slice,
    places: Sequence[Places],
    state: Path,
    out: Path,
    device: torch.device,
    hardware: Mapping[str, Any] | None = None,
    units: Path | None = None,
    base: Path | None = None,
    classifiers: Mapping[str, Path] | None = None,
) -> Info:
    """Trains an acoustic model, or goes on where the same slice was interrupted.

    Args:
        made_by: slice of the run; each of its `data` is what the shards of one corpus must have been made under.
        places: where these lie, corpus by corpus. The first is validated on.
        state: folder for what an interrupted run needs.
        out: run folder.
        device: where the model is; under torchrun every process takes its own of that kind.
        hardware: keys of the training that decide how the machine is used and none of the numbers.
        units: file of the network that made the units of a feature, which conversion needs too.
        base: run folder that the slice goes on `from`; its voices stay, those of the corpora come after them.
        classifiers: run folders `pits` and `dyns` of condition `literal`, which conversion needs too.
    """
    check_machine(hardware or {}, AcousticTraining.MACHINE)
    training: AcousticTraining = check(AcousticTraining, {**made_by["training"], **(hardware or {})}, "--slice")
    if ("from" in made_by) != (base is not None):
        raise InputError(
            "--base: expected for a slice that goes on `from` a run, and for no other; give what it asks for"
        )
    if len(places) != len(made_by["data"]):
        raise InputError(f"--data: given {len(places)} times for the {len(made_by['data'])} corpora of the slice")
    corpora = [Corpus(place, expect) for place, expect in zip(places, made_by["data"], strict=True)]
    found = {name: voice for corpus in reversed(corpora) for name, voice in corpus.voices.items()}
    start = None if base is None else Base(base, made_by)
    if start is not None and not made_by["same_speakers"]:
        _check_strangers(corpora[0], start, base)
    voices = {**(start.voices if start else {}), **dict(sorted(found.items()))}
    names = list(voices)
    first: Mapping[str, Tensor] = {}
    if start is not None:
        first = start.weights(len(voices) - len(start.voices))
    elif training.init:
        first = published(Path(training.init), made_by, len(voices))
    together = corpora[0].together if start is None else start.together
    cfg = task.AcousticConfig(
        made_by, training, voices, together, first, {**_kept(made_by, units), **_literal(made_by, classifiers or {})}
    )
    runs_on = machine.start(device, training)
    fps = float(_grid(made_by["units"]["grid"]).fps)
    frames = max(1, round(training.max_s * fps))
    parts = shares([expect["share"] for expect in made_by["data"]], training.batch)
    check_dealt(parts, runs_on.world * runs_on.accumulate)
    learned = [corpus.utterances("train") for corpus in corpora]
    sources = [
        Told(
            Buckets(
                corpus.columns(utt_ids),
                utt_ids,
                frames=frames,
                batch=runs_on.share(part),
                seed=training.seed,
                cache_mib=training.cache_mib,
                rank=runs_on.rank,
                world=runs_on.world,
                tied=True,
            ),
            corpus.speakers,
            names,
        )
        for corpus, utt_ids, part in zip(corpora, learned, parts, strict=True)
    ]
    valid = corpora[0].utterances("valid")
    held_out = corpora[0].columns(valid)
    usable = [i for i in valid if all(i in column for column in held_out)]
    whole = Whole(held_out, fixed_subset(usable, training.valid_utterances), round(training.valid_max_s * fps))
    loaders = Loaders(
        Loader(sources[0] if len(sources) == 1 else Mixed(sources), training.workers),
        Heard(whole, corpora[0].speakers, names),
    )
    data = hashlib.blake2b("".join(corpus.digest() for corpus in corpora).encode(), digest_size=16).hexdigest()
    return run_loop(
        task, cfg, training, loaders, machine=runs_on, made_by=made_by, run_dir=out, state_dir=state, data=data
    )


class Corpus:
    """One corpus as a training draws from it."""

    def __init__(self, place: Places, expect: Slice):
        self.place, self.expect = place, expect
        self.rows = read_table(Path(place["manifest"]), Utterance)
        self.speakers = {u.utt_id: u.speaker for u in self.rows}
        found = statistics.read(place["statistics"], expect["statistics"])
        self.voices: dict[str, Voice] = found.speakers
        self.together = found.all
        self.shards = shard_names(expect["shards"])
        for key in STREAMS:
            if len(place[key]) != len(expect[key]):
                raise InputError(
                    f"--data: {len(place[key])} folders of {key} for the {len(expect[key])} variants of the slice"
                )

    def utterances(self, split: str) -> list[str]:
        """Those of a split; to be trained on, their speaker has to have a voice."""
        wanted = [u for u in self.rows if u.split == split]
        found = [u.utt_id for u in wanted if u.speaker in self.voices or split != "train"]
        if len(found) < len(wanted):
            log.warning(
                "%s: %d utterances of speakers without a voiced frame", self.place["manifest"], len(wanted) - len(found)
            )
        if not found:
            raise InputError(
                f"{self.place['manifest']}: no utterance of split '{split}'; give the corpus one (corpora: splits)"
            )
        return found

    def columns(self, utt_ids: Sequence[str]) -> list[Column]:
        """What a batch has of some utterances."""
        return [Column(key, self._variants(key), utt_ids) for key in STREAMS]

    def _variants(self, key: str) -> list[Variant]:
        return [
            Variant(tuple(Path(folder) / f"{name}.h5" for name in self.shards), expect)
            for folder, expect in zip(self.place[key], self.expect[key], strict=True)
        ]

    def digest(self) -> str:
        """Of all that is drawn from: the manifest's bytes, the voices and the checksums of the shards."""
        digest = hashlib.blake2b(Path(self.place["manifest"]).read_bytes(), digest_size=16)
        digest.update(Path(self.place["statistics"]).read_bytes())
        for variant in (v for key in STREAMS for v in self._variants(key)):
            for path in variant.paths:
                with Shard(path, expect=None) as shard:
                    digest.update(shard.checksum.encode())
        return digest.hexdigest()


def told(batch: Batch, speakers: Mapping[str, str], names: Sequence[str]) -> Batch:
    """A batch of streams with `condition (B, 2n, 3)` in place of F0 and energy, and `voice (B,)`."""
    f0, energy = batch.pop("f0").numpy(), batch.pop("energy").numpy()
    condition = np.zeros((*f0.shape[:2], 3), np.float32)
    for row, n_units in enumerate(batch["lengths"].tolist()):
        n = 2 * n_units
        condition[row, :n] = columns(f0[row, :n], energy[row, :n])
    batch["condition"] = torch.from_numpy(condition)
    numbers = {name: number for number, name in enumerate(names)}
    batch["voice"] = torch.tensor([numbers.get(speakers[utt_id], len(names)) for utt_id in batch["utt_id"]])
    return batch


class Told:
    """A source of batches, told whose they are and how they are spoken; see `told`."""

    def __init__(self, source: Buckets, speakers: Mapping[str, str], names: Sequence[str]):
        self.source, self.speakers, self.names = source, speakers, names

    def __getitem__(self, step: int) -> Batch:
        return told(self.source[step], self.speakers, self.names)

    def __len__(self) -> int:
        return len(self.source)

    def identity(self) -> dict[str, Any]:
        """That of the source, and the voices."""
        return {**self.source.identity(), "voices": list(self.names)}

    def close(self) -> None:
        """Closes files."""
        self.source.close()


class Heard:
    """Validation batches, told alike."""

    def __init__(self, source: Iterable[Batch], speakers: Mapping[str, str], names: Sequence[str]):
        self.source, self.speakers, self.names = source, speakers, names

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.source:
            yield told(batch, self.speakers, self.names)


class Mixed:
    """Batches of several sources side by side, padded to the longest; an epoch is the first one's."""

    def __init__(self, sources: Sequence[Told]):
        self.sources = sources

    def __getitem__(self, step: int) -> Batch:
        batches = [source[step] for source in self.sources]
        out: Batch = {}
        for key, value in batches[0].items():
            values = [batch[key] for batch in batches]
            if isinstance(value, Tensor):
                out[key] = torch.cat(_padded(values))
            else:
                out[key] = sum(values[1:], start=value)
        return out

    def __len__(self) -> int:
        return len(self.sources[0])

    def identity(self) -> dict[str, Any]:
        """Those of all."""
        return {"loader": "mixed", "sources": [source.identity() for source in self.sources]}

    def close(self) -> None:
        """Closes files."""
        for source in self.sources:
            source.close()


def _padded(values: Sequence[Tensor]) -> list[Tensor]:
    """With zeros to the longest second axis, where there is one."""
    if values[0].ndim < 2:
        return list(values)
    longest = max(value.shape[1] for value in values)
    return [F.pad(value, (0, 0) * (value.ndim - 2) + (0, longest - value.shape[1])) for value in values]


def shares(wanted: Sequence[float], batch: int) -> list[int]:
    """How many of a batch are of each corpus: at least one of each, and as many together as the batch has.

    Raises:
        InputError: when the batch is too small.
    """
    if batch < len(wanted):
        raise InputError(f"training.batch {batch}: expected at least one of each of {len(wanted)} corpora; raise it")
    others = [max(1, round(share * batch)) for share in wanted[1:]]
    return [max(1, batch - sum(others)), *others]


def check_dealt(parts: Sequence[int], pieces: int) -> None:
    """Refuses shares of a batch of which not every process, in every piece, has as many."""
    if len(parts) > 1 and any(part % pieces for part in parts):
        raise InputError(
            f"training.batch: {' and '.join(map(str, parts))} utterances of its corpora, by softvc.refine.mix, cannot "
            f"be dealt to {pieces} processes and pieces; choose batch and mix so that both are multiples of {pieces}"
        )


def _check_strangers(corpus: Corpus, start: Base, base: Path | None) -> None:
    """Refuses a small voice of a name that the model knows already, who may be somebody else."""
    if known := sorted(corpus.voices.keys() & start.voices.keys()):
        raise InputError(
            f"{corpus.place['statistics']}: expected speakers that {base} does not speak as, found {known[0]} in both; "
            "name them otherwise, or set softvc.refine.same_speakers: true where they are the same people"
        )


def _grid(text: str) -> Grid:
    rate, hop = text.split("/")
    return Grid(int(rate), int(hop))


def _kept(made_by: Slice, units: Path | None) -> dict[str, Tensor]:
    """The tensors of the network that made the units, which has to be the one that the slice says."""
    made = made_by["data"][0]["units"][0]
    expect = made.get("units", made).get("model")  # of the literal variant one level deeper
    if (expect is None) != (units is None):
        raise InputError("--units: expected for units that a fitted model makes, and for no others; give what fits")
    if units is None:
        return {}
    tensors, metadata = read_safetensors(units)
    if metadata.get("slice") != canonical(expect):
        raise InputError(f"{units}: not the model that made the units; make it again: `snakemake --force {units}`")
    return {f"units.{name}": value for name, value in tensors.items()}


def _literal(made_by: Slice, classifiers: Mapping[str, Path]) -> dict[str, Tensor]:
    expect = made_by.get("literal", {})
    if set(classifiers) != set(expect):
        wanted = " and ".join(f"--{role}" for role in ROLES)
        raise InputError(
            f"{wanted}: expected the run folders of both for condition literal and for no other, found "
            f"{', '.join(sorted(classifiers)) or 'none'} for condition {made_by['condition']}"
        )
    kept: dict[str, Tensor] = {}
    for role in ROLES if expect else ():
        model = embed.load(classifiers[role], torch.device("cpu"), expect[role], role).model
        kept |= {f"{role}.{name}": value for name, value in model.state_dict().items()}
    return kept
