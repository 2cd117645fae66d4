"""Random shards: what is written is read, and what is damaged is found."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from vcpipe.errors import InputError
from vcpipe.grid import Grid
from vcpipe.guarded import Failure, Guarded
from vcpipe.store import Shard, write_shard

MADE_BY = {"stage": "feature", "feature": {"layer": 2, "revision": 1}}
GRID = Grid(16000, 320)
DTYPES = ("float16", "float32", "int16")

ids = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=30)


@st.composite
def contents(draw: st.DrawFn) -> tuple[str, int, dict[str, list[NDArray[Any]]]]:
    """A type, a width, and rows by id, each in blocks."""
    dtype, dim = draw(st.sampled_from(DTYPES)), draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    lengths = draw(st.dictionaries(ids, st.lists(st.integers(0, 50), min_size=1, max_size=3), max_size=6))

    def block(n: int) -> NDArray[Any]:
        scale = 1000 if dtype == "int16" else 1
        return (scale * rng.normal(size=(n, dim))).astype(dtype)

    return dtype, dim, {utt_id: [block(n) for n in ns] for utt_id, ns in lengths.items()}


def round_trip(path: Path, content: tuple[str, int, dict[str, list[NDArray[Any]]]]) -> None:
    """Writes, opens, verifies and reads; the rows, their order, type and every crop must be as they were."""
    dtype, dim, rows = content
    blocks = ((utt_id, parts[0] if len(parts) == 1 else iter(parts)) for utt_id, parts in rows.items())
    assert write_shard(path, blocks, made_by=MADE_BY, grid=GRID, dim=dim, dtype=dtype) == len(rows)
    with Shard(path, MADE_BY) as shard:
        shard.verify()
        assert shard.utt_ids == list(rows) and (shard.dim, shard.grid) == (dim, GRID)
        for utt_id, parts in rows.items():
            whole = np.concatenate(parts)
            np.testing.assert_array_equal(shard.read(utt_id), whole, strict=True)
            assert shard.length(utt_id) == len(whole)
            half = len(whole) // 2
            np.testing.assert_array_equal(shard.read(utt_id, half, len(whole) - half), whole[half:], strict=True)


def damage(folder: Path, count: int, seed: int = 0) -> tuple[Counter[str], list[str]]:
    """Flips single bits, and cuts, in shards of three sizes.

    Returns:
        How often the damage was found on opening, by `verify`, had no effect (all reads as it was), or escaped; and
        those that escaped, or ended in an exception other than InputError, in words.
    """
    rng = np.random.default_rng(seed)
    found: Counter[str] = Counter()
    escaped: list[str] = []
    shards = []
    for i, lengths in enumerate(([3, 4], [200, 0, 500], [3000, 2000])):
        rows = {f"u{j}": rng.normal(size=(n, 8)).astype(np.float32) for j, n in enumerate(lengths)}
        write_shard(folder / f"{i}.h5", rows.items(), made_by=MADE_BY, grid=GRID, dim=8, dtype="float32")
        shards.append(((folder / f"{i}.h5").read_bytes(), rows))
    cases = [_damaged(rng, i, len(shards[i % 3][0])) for i in range(count)]

    def look(case: list[int]) -> str:
        i, place, bit = case
        data, rows = shards[i % 3]
        out = bytearray(data)
        if bit < 0:
            del out[place:]
        else:
            out[place] ^= 1 << bit
        (folder / "damaged.h5").write_bytes(out)
        return _look(folder / "damaged.h5", rows)

    with Guarded(look, 1, 10.0) as pool:  # libhdf5 may crash on what is damaged
        for (i, place, bit), result in zip(cases, pool.map(cases), strict=True):
            verdict = f"ESCAPED: {type(result).__name__}" if isinstance(result, Failure) else result
            found[verdict.partition(" as ")[0]] += 1
            if verdict.startswith("ESCAPED"):
                words = result.words.strip().splitlines()[-1] if isinstance(result, Failure) else ""
                what = "cut at" if bit < 0 else f"bit {bit} of"
                escaped.append(f"shard {i % 3} {what} byte {place} of {len(shards[i % 3][0])}: {verdict} {words}")
    return found, escaped


def _damaged(rng: np.random.Generator, i: int, size: int) -> list[int]:
    """Which shard, where, and which bit, or -1 for a cut; half of the flips are in what is not values."""
    place = int(rng.integers(size) if i % 2 else rng.integers(min(size, 10_000)))
    return [i, place, -1 if i % 10 == 9 else int(rng.integers(8))]


def _look(path: Path, rows: dict[str, NDArray[Any]]) -> str:
    try:
        shard = Shard(path, MADE_BY)
    except InputError:
        return "found on opening"
    except Exception as error:
        return f"ESCAPED on opening as {type(error).__name__}: {error}"
    with shard:
        try:
            shard.verify()
        except InputError:
            return "found by verify"
        except Exception as error:
            return f"ESCAPED verify as {type(error).__name__}: {error}"
        try:
            same = shard.utt_ids == list(rows) and shard.grid == GRID
            same = same and all(np.array_equal(shard.read(utt_id), rows[utt_id]) for utt_id in rows)
        except Exception as error:
            return f"ESCAPED, then reading raised {type(error).__name__}: {error}"
    return "no effect" if same else "ESCAPED: reads as something else"
