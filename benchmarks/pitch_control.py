"""Whether an acoustic model sings what it is told: the pitch of conversions against the contour that was asked for.

    python benchmarks/pitch_control.py --run RUN --vocoder RUN --corpus FOLDER --voice NAME [--n 20] [--transpose 12]

`--corpus` is a folder with recordings of speech, to be spoken with a voice of the run. A run that is told no
contour is asked for nothing, and measured against the same: what its pitch would have to be. Prints, as it is and
transposed, the correlation of log F0 over frames that are voiced in both, and the median distance in semitones.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from vcpipe.corpora.files import recordings
from vcpipe.systems.softvc.config import ConvertSettings
from vcpipe.systems.softvc.converter import Converter

LEAST_FRAMES = 20
"""Voiced in both; a conversion with fewer says nothing."""


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="folder of an acoustic model")
    parser.add_argument("--vocoder", type=Path, required=True, help="folder of its vocoder")
    parser.add_argument("--corpus", type=Path, required=True, help="folder with recordings")
    parser.add_argument("--voice", required=True, help="one that the run speaks with")
    parser.add_argument("--n", type=int, default=20, help="how many of the recordings, spread evenly")
    parser.add_argument("--transpose", type=float, nargs="*", default=[0.0, 12.0], help="semitones")
    args = parser.parse_args()
    converter = Converter.load(args.run, args.vocoder)
    files = recordings([args.corpus], "--corpus")
    chosen = files[:: max(1, len(files) // args.n)][: args.n]
    print(f"{len(chosen)} recordings to {args.voice}; the run is told {'a' if converter.conditioned else 'no'} contour")
    for transpose in args.transpose:
        correlations, distances = [], []
        for path in chosen:
            asked, made = _contours(converter, path, args.voice, transpose)
            both = (asked > 0) & (made > 0)
            if both.sum() < LEAST_FRAMES:
                continue
            semitones = 12 * np.log2(made[both] / asked[both])
            distances.append(float(np.median(semitones)))
            correlations.append(float(np.corrcoef(np.log(asked[both]), np.log(made[both]))[0, 1]))
        if not distances:
            raise SystemExit(
                f"{args.corpus}: expected {LEAST_FRAMES} frames voiced in both, found fewer in all; give speech"
            )
        low, high = np.percentile(distances, [10, 90])
        spread = f"({low:+.2f} to {high:+.2f} in the middle 80 %)"
        print(
            f"{transpose:+5.1f} semitones: correlation {np.mean(correlations):.3f}, "
            f"distance {np.median(distances):+.2f} {spread}, {len(distances)} recordings"
        )


def _contours(converter: Converter, path: Path, voice: str, transpose: float) -> tuple[np.ndarray, np.ndarray]:
    """F0 in Hz `(T,)`, 0 where unvoiced, as it was asked for and as it came out."""
    source = converter.frames(path)
    asked, _ = converter.contour(source, voice, ConvertSettings(transpose=transpose))
    wave = converter.convert(source, voice, ConvertSettings(transpose=transpose if converter.conditioned else 0.0))
    made = np.asarray(converter.features["f0"](wave))
    n = min(len(asked), len(made))
    return asked[:n, 0], made[:n, 0]


if __name__ == "__main__":
    main()
