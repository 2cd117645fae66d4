"""Peak memory of extracting a long recording against a short one; the goal is a ratio of at most 1.10.

    python benchmarks/long_recording.py [--kind tiny_random] [--minutes 5 60] [--result]

Each recording is noise in an HDF5 file and is extracted in a process of its own. Measured is that process's peak
resident memory as the kernel counts it: interpreter, libraries, weights, windows, everything. By default frames are
streamed and dropped block by block, as a writer of shards would use them. With `--result` the whole (T, D) array is
kept, which grows with the recording by definition; its size is printed beside the ratio.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GOAL = 1.10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", default="tiny_random", help="kind of feature, with its default settings")
    parser.add_argument("--minutes", type=float, nargs=2, default=[5, 60], help="the short and the long recording")
    parser.add_argument("--result", action="store_true", help="keep all frames, as a plain call does")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.kind, arguments.measure, arguments.result)
        return 0
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        for minutes in arguments.minutes:
            path = Path(folder) / "noise.h5"
            write_noise(path, arguments.kind, minutes)
            command = [sys.executable, __file__, "--kind", arguments.kind, "--measure", str(path)]
            if arguments.result:
                command.append("--result")
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            print(
                f"{arguments.kind} {minutes:g} min: peak {found['peak_mib']:.0f} MiB (before reading audio "
                f"{found['loaded_mib']:.0f} MiB, result {found['result_mib']:.0f} MiB), {found['frames']} frames "
                f"in {found['seconds']:.1f} s"
            )
            peaks.append(found["peak_mib"])
    ratio = peaks[1] / peaks[0]
    print(f"ratio {ratio:.3f} " + ("with the result kept" if arguments.result else f"(goal <= {GOAL:.2f})"))
    return 0 if ratio <= GOAL or arguments.result else 1


def write_noise(path: Path, kind: str, minutes: float) -> None:
    import h5py
    import numpy as np

    from vcpipe import catalog

    rate = catalog.feature(kind, "--kind").Settings(kind=kind).grid.rate
    random = np.random.default_rng(0)
    with h5py.File(path, "w") as f:
        wave = f.create_dataset("wave", (round(minutes * 60 * rate),), "f4", chunks=(16000,))
        for at in range(0, len(wave), 1 << 20):
            wave[at : at + (1 << 20)] = 0.1 * random.standard_normal(min(1 << 20, len(wave) - at), np.float32)


def measure(kind: str, path: Path, result: bool) -> None:
    """Runs in its own process: extracts and prints what it cost as JSON."""
    import h5py
    import torch

    from vcpipe import catalog

    module = catalog.feature(kind, "--kind")
    extractor = module.load(module.Settings(kind=kind), torch.device("cpu"))
    loaded, started = peak_mib(), time.monotonic()
    with h5py.File(path) as f:
        if result:
            values = extractor(f["wave"])
            frames, kept = len(values), values.nbytes
        else:
            frames, kept = sum(len(block) for block in extractor.stream(f["wave"])), 0
    seconds = time.monotonic() - started
    numbers = {"peak_mib": peak_mib(), "loaded_mib": loaded, "result_mib": kept / 2**20}
    print(json.dumps({**numbers, "frames": frames, "seconds": seconds}))


def peak_mib() -> float:
    """Peak resident memory of this process so far; Linux counts it in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
