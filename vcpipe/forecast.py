"""How much room everything will take, before it is made: `vcpipe du`."""

from __future__ import annotations

import shutil
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile

from vcpipe import audio, catalog, packing
from vcpipe.config import Config, SystemShards
from vcpipe.corpora import lists
from vcpipe.errors import InputError
from vcpipe.manifest import Candidate, Utterance, read_table, shard_names
from vcpipe.settings import FeatureSettings
from vcpipe.store import CHUNK_BYTES

SAMPLES = 200
"""Recordings of each kind of file whose headers are read to learn how many seconds a byte holds, at most."""
PACKED_BYTES = {"npy16": 2.0, "flac": 2.1}
"""A sample, in packs; FLAC of 24 bits was seen at 16.8 bits on speech."""
ITEM_BYTES = {"float16": 2, "float32": 4, "int16": 2}
SHARD_BYTES = 5_000  # header of a shard, most of it its slice
ROW_BYTES = 35  # id and offset of one utterance


@dataclass(frozen=True)
class Length:
    """How much speech a corpus has, and how that is known: `measured`, `estimated` or `unknown`."""

    seconds: float
    utterances: int
    speakers: int
    how: str


@dataclass(frozen=True)
class Entry:
    """One thing that takes room: what it is, of which corpus, in bytes as forecast and as found on disk."""

    what: str
    corpus: str
    forecast: int
    on_disk: int


def forecast(config: Config, results: Path) -> tuple[dict[str, Length], list[Entry]]:
    """The length of every corpus, and the size of every copy and feature of each.

    A corpus that is not there yet has length `unknown` and forecasts of 0.
    """
    lengths: dict[str, Length] = {}
    entries: list[Entry] = []
    for corpus, settings in config.corpora.items():
        of_copy = _lengths(config, corpus, results)
        lengths[corpus] = next(iter(of_copy.values()))
        for copy, kept in config.audio.items():
            length = of_copy[copy]
            rows = round(length.seconds * kept.rate)
            size = _shards(rows * 4, length.utterances, settings.shards) if length.seconds else 0
            entries.append(Entry(f"audio {copy}", corpus, size, _found(results / "audio" / copy / corpus)))
        for name, feature in config.features.items():
            size = feature_bytes(feature, of_copy[config.copy_of(name)], settings.shards)
            entries.append(Entry(f"feature {name}", corpus, size, _found(results / "features" / name / corpus)))
        entries += [
            Entry(f"feature {name}", corpus, size, _found(results / "features" / name / corpus))
            for name, size in _of_systems(config, corpus, of_copy).items()
        ]
    entries += [
        _pack(config, pack, _lengths(config, config.packs[pack].corpus, results), results) for pack in config.packs
    ]
    return lengths, entries


def _of_systems(config: Config, corpus: str, of_copy: Mapping[str, Length]) -> dict[str, int]:
    """Sizes of what systems derive of a corpus that one of them trains on, by name."""
    if not any(corpus in settings.trains_on() for settings in config.systems.values()):
        return {}
    out = {}
    for name, shards in config.of_systems().items():
        length = of_copy[config.copy_of(shards.like(config)[0])]
        out[name] = _derived_bytes(config, shards, length, config.corpora[corpus].shards)
    return out


def _derived_bytes(config: Config, shards: SystemShards, length: Length, n_shards: int) -> int:
    """Size on disk of all shards that a system derives of so much speech."""
    features = [config.features[name] for name in shards.like(config)]
    beside = round(length.seconds * float(features[0].grid.fps)) * shards.beside * ITEM_BYTES["float16"]
    return beside + sum(feature_bytes(feature, length, n_shards) for feature in features)


def _pack(config: Config, pack: str, of_copy: Mapping[str, Length], results: Path) -> Entry:
    """The tars of a pack, as if all of the corpus were in its split."""
    settings, derived = config.packs[pack], config.of_systems()
    size = 0
    length = of_copy[packing.copy_of(config, pack)]
    for names in packing.columns(config, pack).values():
        for name in names:
            if name in config.audio:
                size += round(length.seconds * config.audio[name].rate * PACKED_BYTES[settings.form])
            elif name in derived:
                size += _derived_bytes(config, derived[name], length, 1)
            else:
                size += feature_bytes(config.features[name], length, 1)
    found = sum(file.stat().st_size for file in (results / "packs" / pack).glob("*.tar"))
    return Entry(f"pack {pack}", settings.corpus, size if length.seconds else 0, found)


def feature_bytes(feature: FeatureSettings, length: Length, n_shards: int) -> int:
    """Size on disk of all shards of a feature of so much speech."""
    if not length.seconds:
        return 0
    rows = {
        "frame": round(length.seconds * float(feature.grid.fps)),
        "utterance": length.utterances,
        "speaker": length.speakers,
    }[feature.ROWS]
    ids = length.speakers if feature.ROWS == "speaker" else length.utterances
    return _shards(rows * feature.dim * ITEM_BYTES[feature.dtype], ids, n_shards)


def table(config: Config, results: Path) -> str:
    """What `vcpipe du` prints."""
    lengths, entries = forecast(config, results)
    lines = [f"{'corpus':<24}{'hours':>10}{'utterances':>12}{'speakers':>10}  length"]
    for corpus, length in lengths.items():
        counts = f"{length.seconds / 3600:>10.2f}{length.utterances:>12}{length.speakers:>10}"
        lines.append(f"{corpus:<24}{counts if length.seconds else '?'.rjust(10):<32}  {length.how}")
    lines += ["", f"{'what':<32}{'corpus':<24}{'forecast':>12}{'on disk':>12}"]
    for e in entries:
        size = human(e.forecast) if e.forecast else "?"
        lines.append(f"{e.what:<32}{e.corpus:<24}{size:>12}{human(e.on_disk) if e.on_disk else '-':>12}")
    wanted, found = sum(e.forecast for e in entries), sum(e.on_disk for e in entries)
    lines.append(f"{'all of it':<56}{human(wanted):>12}{human(found):>12}")
    folder = next(p for p in (results, *results.absolute().parents) if p.is_dir())
    free = shutil.disk_usage(folder).free
    lines.append(f"{'free on this disk':<56}{human(free):>12}")
    if wanted - found > free:
        lines.append(f"{human(wanted - found - free)} too little: free some, or move results/ to a larger disk")
    return "\n".join(lines)


def _lengths(config: Config, corpus: str, results: Path) -> dict[str, Length]:
    """Of each copy: that of its manifest where there is one; else one estimate for all, which takes a scan."""
    out: dict[str, Length] = {}
    estimate: Length | None = None
    for copy in config.audio:
        manifest = results / "audio" / copy / corpus / "manifest.csv"
        if manifest.is_file():
            rows = read_table(manifest, Utterance)
            seconds = sum(u.n_samples / u.sample_rate for u in rows)
            out[copy] = Length(seconds, len(rows), len({u.speaker for u in rows}), "measured")
        else:
            estimate = estimate or _unmade(config, corpus, results)
            out[copy] = estimate
    return out


def _unmade(config: Config, corpus: str, results: Path) -> Length:
    """Estimated from the headers of some recordings and the sizes of all."""
    settings, folder = config.corpora[corpus], results / "corpora" / corpus
    try:
        lists.refresh(corpus, settings, folder)
    except InputError as error:
        return Length(0, 0, 0, f"unknown: {error}")
    names = [folder / "lists" / f"{name}.csv" for name in shard_names(settings.shards)]
    listed = [c for name in names for c in read_table(name, Candidate)]
    module = catalog.corpus(settings.kind, "corpora")
    if hasattr(module, "seconds"):
        seconds, how = module.seconds(settings), "estimated: it is made at the first run"
    else:
        seconds, n_headers = _estimate(Path(settings.root), listed)
        how = f"estimated from {n_headers} headers"
    return Length(seconds, len(listed), len({c.speaker for c in listed}), how)


def _estimate(root: Path, listed: list[Candidate]) -> tuple[float, int]:
    """Seconds of all recordings, and how many headers were read for that.

    Of each kind of file a sample is looked at; the line through its sizes and lengths tells the rest from their sizes.
    """
    kinds: dict[str, list[Candidate]] = defaultdict(list)
    for c in listed:
        kinds[Path(c.path).suffix.lower()].append(c)
    total, n_headers = 0.0, 0
    for files in kinds.values():
        sample = files[:: -(-len(files) // SAMPLES)]
        seconds = [_seconds(root / c.path) for c in sample]
        slope, intercept = _line(list(map(_bytes, sample)), seconds)
        total += max(0.0, slope * sum(map(_bytes, files)) + intercept * len(files))
        n_headers += sum(s > 0 for s in seconds)
    return total, n_headers


def _line(sizes: Sequence[int], seconds: Sequence[float]) -> tuple[float, float]:
    """Slope and intercept; flat where all sizes are equal."""
    if len(set(sizes)) == 1:
        return 0.0, statistics.fmean(seconds)
    slope, intercept = statistics.linear_regression(sizes, seconds)
    return slope, intercept


def _bytes(candidate: Candidate) -> int:
    """The size of a file as its stamp has it."""
    size = candidate.stamp.partition("-")[0]
    return int(size) if size.isdecimal() else 0


def _seconds(path: Path) -> float:
    """The length of a recording; 0 where it has none that can be read."""
    try:
        return float(soundfile.info(path).duration)
    except soundfile.LibsndfileError:
        try:
            mono, rate = audio.read(path)
        except audio.BadAudio:
            return 0.0
        return len(mono) / rate


def _shards(values: int, utterances: int, n_shards: int) -> int:
    """Values lie in whole chunks, of which every shard has one at least."""
    chunks = -(-values // (n_shards * CHUNK_BYTES))
    return n_shards * (chunks * CHUNK_BYTES + SHARD_BYTES) + utterances * ROW_BYTES


def _found(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.h5"))


def human(n_bytes: float) -> str:
    """A size in words: `1.5 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if n_bytes < 1024:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.1f} TiB"
