"""A folder of conversions that a person asked for: recordings, and `converted.jsonl` with a line for each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from vcpipe.errors import InputError
from vcpipe.manifest import atomic_path


def target(out: Path, source: Path) -> Path:
    """Where the conversion of a source goes."""
    return out / f"{source.stem}.wav"


def check_out(out: Path, given: Sequence[Path], sources: Sequence[Path], references: Sequence[Path] = ()) -> None:
    """No output may fall on an input, on another output, or where the next run would take it for an input."""
    names = [path.stem for path in sources]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InputError(f"--source: {len(twice)} names come twice ({', '.join(sorted(twice)[:3])}); rename the files")
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: expected a folder, found a file; give another")
    for folder in given:
        if folder.is_dir() and out.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"--out {out}: it lies in {folder}, whose recordings are read; give a folder outside")
    inputs = {path.resolve() for path in [*sources, *references]}
    for path in sources:
        if target(out, path).resolve() in inputs:
            raise InputError(f"--out {out}: {target(out, path)} would overwrite an input; give another folder")
    _lines(out / "converted.jsonl")


def _lines(path: Path) -> dict[str, str]:
    """The JSON lines of earlier conversions into a folder, by the name of what was converted."""
    lines: dict[str, str] = {}
    for number, text in enumerate(path.read_bytes().splitlines() if path.exists() else [], start=1):
        try:
            lines[Path(json.loads(text)["converted"]).name] = text.decode()
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}:{number}: damaged ({error!r}); repair the line, or delete it") from None
    return lines


def note(path: Path, name: str, text: str) -> None:
    """Puts one conversion's line into the file, in place of an earlier one of the same recording."""
    lines = {**_lines(path), name: text}
    with atomic_path(path) as tmp:
        tmp.write_text("".join(line + "\n" for line in lines.values()), encoding="utf-8")
