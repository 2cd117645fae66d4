"""Whether a model sings what it is told: the pitch of its mels, and of conversions, against the contour asked for.

    python benchmarks/pitch_control.py --run RUN --vocoder RUN --corpus FOLDER --voice NAME [--n 20] [--transpose 12]

`--corpus` is a folder with recordings of speech, to be spoken with a voice of the run. A run that is told no
contour is asked for nothing, and measured against the same: what its pitch would have to be. The mels are heard by
Griffin and Lim's iteration, without the vocoder, which may be told the contour too. Prints for both, as it is and
transposed, the correlation of log F0 over frames that are voiced in both, the median distance in semitones, the share
of the recordings that are within half a semitone, and that of the frames which are voiced in one alone.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from vcpipe.corpora.files import recordings
from vcpipe.features import f0
from vcpipe.systems.softvc.config import ConvertSettings
from vcpipe.systems.softvc.converter import Converter

LEAST_FRAMES = 20
"""Voiced in both; a conversion with fewer says nothing."""
CEIL_HZ = 1100.0
"""Above what the models were trained on: a voice an octave up must not be taken for the one below."""


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="folder of an acoustic model")
    parser.add_argument("--vocoder", type=Path, required=True, help="folder of its vocoder")
    parser.add_argument("--corpus", type=Path, required=True, help="folder with recordings")
    parser.add_argument("--voice", required=True, help="one that the run speaks with")
    parser.add_argument("--n", type=int, default=20, help="how many of the recordings, spread evenly")
    parser.add_argument("--transpose", type=float, nargs="*", default=[0.0, 12.0], help="semitones")
    parser.add_argument("--spread", type=float, default=1.0, help="0 for a voice that was recorded on one note")
    args = parser.parse_args()
    converter = Converter.load(args.run, args.vocoder)
    files = recordings([args.corpus], "--corpus")
    wanted = max(1, args.n)
    chosen = files[:: max(1, len(files) // wanted)][:wanted]
    print(f"{len(chosen)} recordings to {args.voice}; the run is told {'a' if converter.conditioned else 'no'} contour")
    listen = f0.load(f0.Settings(method="praat", ceil_hz=CEIL_HZ, rate=converter.grid.rate, hop=converter.grid.hop))
    for transpose in args.transpose:
        found: dict[str, list[tuple[float, float, float]]] = {"mel": [], "sound": []}
        for path in chosen:
            source = converter.frames(path)
            told_so = ConvertSettings(transpose=transpose, spread=args.spread)
            asked = converter.contour(source, args.voice, told_so)[0][:, 0]
            settings = told_so if converter.conditioned else ConvertSettings()
            mel, told = converter.mel(source, args.voice, settings)
            sound = torch.from_numpy(converter.vocoder.speak(mel, None, told))
            for name, wave in (("mel", converter.ear.draft(mel)), ("sound", sound)):
                found[name] += _compared(asked, np.asarray(listen(wave))[:, 0])
        for name, of_it in found.items():
            print(f"{transpose:+5.1f} semitones, {name:5}: {_words(of_it, args.corpus)}")


def _compared(asked: np.ndarray, made: np.ndarray) -> list[tuple[float, float, float]]:
    """Correlation, median distance and voicing of two contours in Hz, 0 where unvoiced; none of one that is flat."""
    n = min(len(asked), len(made))
    voiced, heard = asked[:n] > 0, made[:n] > 0
    log_asked, log_made = np.log2(asked[:n][voiced & heard]), np.log2(made[:n][voiced & heard])
    if len(log_asked) < LEAST_FRAMES or not (log_asked.std() and log_made.std()):
        return []
    correlation = float(np.corrcoef(log_asked, log_made)[0, 1])
    return [(correlation, float(12 * np.median(log_made - log_asked)), float((voiced != heard).mean()))]


def _words(found: list[tuple[float, float, float]], corpus: Path) -> str:
    if not found:
        raise SystemExit(f"{corpus}: expected {LEAST_FRAMES} frames voiced in both, found fewer in all; give speech")
    correlations, distances, voicing = np.array(found).T
    low, high = np.percentile(distances, [10, 90])
    return (
        f"correlation {correlations.mean():.3f}, distance {np.median(distances):+.2f} "
        f"({low:+.2f} to {high:+.2f} in the middle 80 %), {(np.abs(distances) <= 0.5).mean():.0%} within 0.5, "
        f"voicing off in {voicing.mean():.1%}, {len(found)} recordings"
    )


if __name__ == "__main__":
    main()
