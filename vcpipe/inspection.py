"""What a file of ours holds, in words: for `vcpipe inspect`."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

from vcpipe.errors import InputError
from vcpipe.settings import Slice

AGAIN = "make the file again, or repair it"


def describe(path: Path, verify: bool = False) -> str:
    """A few lines about a shard (`.h5`), a run folder, a table (`.csv`), JSON lines (`.jsonl`) or a fitted model.

    Args:
        verify: read every value of a shard against its checksum.

    Raises:
        InputError: when the path is none of these, or damaged.
    """
    if path.is_dir():
        return _run(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file or folder; give a shard, run folder, manifest or .jsonl file")
    kinds = {
        ".h5": lambda p: _shard(p, verify),
        ".csv": _table,
        ".jsonl": _lines,
        ".safetensors": _tensors,
    }
    if path.suffix not in kinds:
        raise InputError(
            f"{path}: expected a .h5, .csv, .jsonl or .safetensors file or a run folder, "
            f"found {path.suffix or 'a file'}"
        )
    return kinds[path.suffix](path)


def made_by(path: str | Path) -> Slice | None:
    """The slice that a shard (`.h5`) or a run (its `config.json`) carries; None where it is damaged."""
    path = Path(path)
    try:
        if path.suffix == ".h5":
            from vcpipe.store import Shard

            with Shard(path, expect=None) as shard:
                return shard.slice
        return dict(json.loads(path.read_text(encoding="utf-8"))["slice"])
    except (InputError, KeyError, OSError, TypeError, ValueError):
        return None


def _shard(path: Path, verify: bool) -> str:
    from vcpipe.store import Shard

    with Shard(path, expect=None) as shard:
        if verify:
            shard.verify()
        rows = int(shard.offsets[-1])
        lines = [
            f"shard       {path} ({path.stat().st_size / 2**20:.1f} MiB)",
            f"utterances  {len(shard.utt_ids)}",
            f"rows        {rows} x {shard.dim} {shard.values.dtype}",
            f"duration    {rows / float(shard.grid.fps):.1f} s on grid {shard.grid}",
            f"checksum    {shard.checksum} ({'checked, good' if verify else 'not checked; --verify does'})",
            "slice       " + json.dumps(shard.slice, indent=2).replace("\n", "\n            "),
        ]
        lines += [f"  {utt_id}  {shard.length(utt_id)}" for utt_id in shard.utt_ids[:5]]
        if len(shard.utt_ids) > 5:
            lines.append(f"  ... and {len(shard.utt_ids) - 5} more")
    return "\n".join(lines)


def _run(path: Path) -> str:
    from vcpipe.training.runs import read_info

    info = read_info(path)
    return "\n".join([f"run         {path}", json.dumps(info, indent=2)])


def _tensors(path: Path) -> str:
    from vcpipe.weights import read_safetensors

    tensors, metadata = read_safetensors(path)
    made_by = metadata.pop("slice", "")
    lines = [f"tensors     {path}", *(f"{key:<12}{value}" for key, value in sorted(metadata.items()))]
    lines += [f"  {name}  {tuple(tensor.shape)} {tensor.dtype}" for name, tensor in sorted(tensors.items())]
    if made_by:
        try:
            lines.append("slice       " + json.dumps(json.loads(made_by), indent=2).replace("\n", "\n            "))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: its slice is not JSON ({error}); {AGAIN}") from None
    return "\n".join(lines)


def _table(path: Path) -> str:
    rows = _table_rows(path)
    if not rows:
        return f"table       {path}\nrows        0"
    lines = [f"table       {path}", f"rows        {len(rows)}", f"columns     {', '.join(rows[0])}"]
    for column in ("split", "reason", "language"):
        if column in rows[0]:
            lines.append(f"{column:<12}" + ", ".join(f"{v or '(none)'} {n}" for v, n in _counts(rows, column)))
    if "speaker" in rows[0]:
        lines.append(f"speakers    {len({row['speaker'] for row in rows})}")
    if "n_samples" in rows[0]:
        try:
            seconds = sum(int(row["n_samples"]) / int(row["sample_rate"]) for row in rows)
        except (ValueError, KeyError, ZeroDivisionError) as error:
            raise InputError(
                f"{path}: expected whole numbers in n_samples and sample_rate, found {error!r}; {AGAIN}"
            ) from None
        lines.append(f"duration    {seconds / 60:.1f} minutes")
    return "\n".join(lines)


def _table_rows(path: Path) -> list[dict[str, str]]:
    try:
        with open(path, newline="", encoding="utf-8") as f:
            header, *rows = [row for row in csv.reader(f) if row] or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a table ({error}); {AGAIN}") from None
    for line, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise InputError(f"{path}: row {line} has {len(row)} columns, expected {len(header)}; {AGAIN}")
    return [dict(zip(header, row, strict=True)) for row in rows]


def _counts(rows: list[dict[str, str]], column: str) -> list[tuple[str, int]]:
    return Counter(row[column] for row in rows).most_common()


def _lines(path: Path) -> str:
    rows = []
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            rows.append(json.loads(line))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: line {len(rows) + 1} is not JSON ({error}); {AGAIN}") from None
    head = json.dumps(rows[0], indent=2) if rows else ""
    return f"JSON lines  {path}\nrows        {len(rows)}\n{head}"
