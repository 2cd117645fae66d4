"""`python -m tests.fuzz --files 1000 --shards 10000 --flips 500`: the whole run, with its numbers."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from hypothesis import HealthCheck, given, settings

from tests.fuzz.recordings import damaged, good, write
from tests.fuzz.run import Report, decoded_alone, prepared
from tests.fuzz.shards import contents, damage, round_trip


def main() -> int:
    """Runs what is asked for; 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--files", type=int, default=1000, help="damaged recordings")
    parser.add_argument("--shards", type=int, default=10_000, help="round trips of the store")
    parser.add_argument("--flips", type=int, default=500, help="damaged shards")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder in which the recordings are left to be looked at")
    given_ = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        broken = recordings(given_.files, given_.seed, given_.keep or folder) if given_.files else 0
        broken += shards(given_.shards, given_.flips, given_.seed, folder)
    finally:
        shutil.rmtree(folder)
    print(f"{broken} promises broken")
    return bool(broken)


def recordings(count: int, seed: int, folder: Path) -> int:
    """Decodes each alone, then prepares them as a corpus."""
    cases = damaged(count, seed)
    write([*good(), *cases], folder / "alone")
    alone = _timed("decoded alone", lambda: decoded_alone([*good(), *cases], folder / "alone"))
    print(f"  slowest: {alone.slowest[0]:.3f} s, {alone.slowest[1]}")
    together = _timed("prepared as a corpus", lambda: prepared(cases, folder))
    return len(alone.breaches) + len(together.breaches)


def _timed(name: str, work) -> Report:  # type: ignore[no-untyped-def]
    begun = time.monotonic()
    report: Report = work()
    print(f"{name}: {sum(report.verdicts.values())} files in {time.monotonic() - begun:.1f} s")
    print("  " + ", ".join(f"{n} {reason}" for reason, n in report.verdicts.most_common()))
    for breach in report.breaches:
        print(f"  BROKEN {breach}")
    return report


def shards(count: int, flips: int, seed: int, folder: Path) -> int:
    """Round trips, then damage."""
    begun, n = time.monotonic(), 0

    @settings(max_examples=max(count, 1), deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(content=contents())
    def trips(content) -> None:  # type: ignore[no-untyped-def]
        nonlocal n
        n += 1
        round_trip(folder / "000.h5", content)

    if count:
        trips()
        print(f"store: {n} round trips in {time.monotonic() - begun:.1f} s")
    found, escaped = damage(folder, flips, seed)
    print("damaged shards: " + ", ".join(f"{n} {verdict}" for verdict, n in found.most_common()))
    for words in escaped:
        print(f"  {words}")
    return len(escaped)


if __name__ == "__main__":
    sys.exit(main())
