"""What a row of the table is on disk, and the one door through which its figures are read.

A figure is shown only with the protocol that it was made under: `protocol.json` must be there, be the one that
`metrics.json` was written with, and name the very system and trials that were converted and judged.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vcpipe.errors import InputError
from vcpipe.settings import canonical

FORMAT = "vcpipe-protocol-1"
KINDS = ("system", "baseline", "reference")
SAME_IN_BOTH = ("source_utt", "source_speaker", "target_speaker")
AGAIN = "judge it again: `snakemake --cores all --forcerun judge -- evaluate`"


@dataclass(frozen=True)
class Result:
    """One row: what made it, its trials, what was found of each, the figures and the protocol; as in their files."""

    folder: Path
    system: dict[str, Any]
    pairs: list[dict[str, Any]]
    judged: list[dict[str, Any]]
    metrics: dict[str, Any]
    protocol: dict[str, Any]

    @property
    def row(self) -> str:
        """Its name."""
        return str(self.system["row"])

    @property
    def reference_s(self) -> float | None:
        """Seconds of a target that the system heard, on average; None where it hears none: its voices were learned."""
        if not self.system.get("hears_references", True):
            return None
        return sum(float(line["reference_s"]) for line in self.pairs) / len(self.pairs)


def digest(value: Any) -> str:
    """SHA-256 of a protocol, or of a list of trials, as 64 hexadecimal digits: equal for equal content."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def trials(pairs: list[dict[str, Any]]) -> list[list[Any]]:
    """The trials of a row's pairs as a protocol lists them: source, target, references, their seconds, seed."""
    return [
        [line["source_utt"], line["target_speaker"], list(line["references"]), line["reference_s"], line["seed"]]
        for line in pairs
    ]


def load(folder: Path) -> Result:
    """Reads a row's folder.

    Raises:
        InputError: when a file is missing or damaged, when the protocol is not the one of the figures or of the
            system, or when the files are not of the same trials.
    """
    if not (folder / "protocol.json").is_file():
        raise InputError(
            f"{folder / 'protocol.json'}: expected the protocol of these figures, found none; figures without it "
            f"cannot be compared and are not shown; {AGAIN}"
        )
    protocol, metrics, system = (_json(folder / f"{name}.json") for name in ("protocol", "metrics", "system"))
    result = Result(folder, system, _lines(folder / "pairs.jsonl"), _lines(folder / "judged.jsonl"), metrics, protocol)
    try:
        _check_protocol(result)
        _check_trials(result)
    except KeyError as error:
        raise InputError(f"{folder}: expected the key {error} in its files, found none; {AGAIN}") from None
    return result


def _check_protocol(result: Result) -> None:
    folder, protocol = result.folder, result.protocol
    if protocol["format"] != FORMAT:
        raise InputError(
            f"{folder / 'protocol.json'}: expected the format {FORMAT}, found {protocol['format']!r}; {AGAIN}"
        )
    if (found := digest(protocol)) != result.metrics["protocol"]:
        raise InputError(
            f"{folder / 'metrics.json'}: expected figures made under the protocol beside it ({found[:12]}), found "
            f"those of another ({str(result.metrics['protocol'])[:12]}); {AGAIN}"
        )
    for name, row in (("metrics.json", result.metrics["row"]), ("protocol.json", protocol["row"])):
        if row != result.system["row"]:
            raise InputError(f"{folder / name}: expected the row {result.system['row']!r}, found {row!r}; {AGAIN}")
    for key, judged in protocol["system"].items():
        if judged != result.system[key]:
            raise InputError(
                f"{folder / 'protocol.json'}: key 'system.{key}': expected that of system.json, found another: "
                f"these are figures of another conversion; {AGAIN}"
            )
    if result.system["kind"] not in KINDS:
        raise InputError(
            f"{folder / 'system.json'}: key 'kind': expected {', '.join(KINDS)}, found {result.system['kind']!r}; "
            "render it again"
        )


def _check_trials(result: Result) -> None:
    folder, pairs, judged = result.folder, result.pairs, result.judged
    if not pairs:
        raise InputError(f"{folder / 'pairs.jsonl'}: expected at least one trial, found none; render it again")
    names = [line["name"] for line in pairs]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{folder / 'pairs.jsonl'}: expected a name once, found '{twice}' twice; render it again")
    if [line["name"] for line in judged] != names:
        found = {line["name"] for line in judged}
        unlike = [name for name in names if name not in found] or sorted(found - set(names)) or ["their order"]
        raise InputError(
            f"{folder / 'judged.jsonl'}: expected the {len(names)} trials of pairs.jsonl in their order, found "
            f"{len(judged)} lines, first unlike: {unlike[0]}; {AGAIN}"
        )
    for pair, line in zip(pairs, judged, strict=True):
        for key in SAME_IN_BOTH:
            if pair[key] != line[key]:
                raise InputError(
                    f"{folder / 'judged.jsonl'}: {pair['name']}: expected {key} {pair[key]}, found {line[key]}; {AGAIN}"
                )
    listed = result.protocol["trials"]
    if listed["list"] != trials(pairs) or listed["n"] != len(pairs) or listed["digest"] != digest(listed["list"]):
        raise InputError(
            f"{folder / 'protocol.json'}: key 'trials': expected the {len(pairs)} trials of pairs.jsonl, found a list "
            f"of {listed['n']} that is not theirs; {AGAIN}"
        )
    if result.metrics["n"] != len(judged):
        raise InputError(
            f"{folder / 'metrics.json'}: expected figures of {len(judged)} trials, found {result.metrics['n']}; {AGAIN}"
        )


def _json(path: Path) -> dict[str, Any]:
    value = _parse(path, _read(path))
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected keys with values, found {type(value).__name__}; {AGAIN}")
    return value


def _lines(path: Path) -> list[dict[str, Any]]:
    lines = [_parse(path, line, number) for number, line in enumerate(_read(path).splitlines(), start=1)]
    if odd := [i for i, line in enumerate(lines, start=1) if not isinstance(line, dict)]:
        raise InputError(f"{path}:{odd[0]}: expected keys with values, found {lines[odd[0] - 1]!r}; {AGAIN}")
    return lines


def _read(path: Path) -> str:
    if not path.is_file():
        raise InputError(f"{path}: expected a file of a judged row, found none; render and judge the row")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected UTF-8, found other bytes ({error.reason}); {AGAIN}") from None


def _parse(path: Path, text: str, line: int = 0) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"{path}:{line}" if line else str(path)
        raise InputError(f"{where}: expected JSON, found something cut off or damaged ({error.msg}); {AGAIN}") from None
