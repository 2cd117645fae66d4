"""Grad-SVC (github.com/PlayVoice/Grad-SVC): the folders `data_gvc/` and `files/` that its trainer reads.

| file below `data_gvc/` | column | content |
|---|---|---|
| `mel/<spk>/<name>.mel.pt` | `mel` | float32 tensor `(100, T)` at 100 frames a second of 32 kHz |
| `hubert/<spk>/<name>.vec.npy` | `hubert` | float32 `(U, 256)` at 50 frames a second; the loader repeats each twice |
| `pitch/<spk>/<name>.pit.npy` | `pitch` | float32 `(T,)` Hz, 0 where unvoiced |
| `speaker/<spk>/<name>.spk.npy` | `speaker` | float32 `(256,)` |
| `singer/<spk>.spk.npy` | `singer` | float32 `(256,)`; without the column, the mean of the speaker's vectors |
| `waves-16k/`, `waves-32k/` `<spk>/<name>.wav` | `wav_16k`, `wav_32k` | 16-bit; only preparation reads them |

Lengths: the original's own pitch files have T + 3 frames. Its loader leaves out what has fewer than 251 pitch frames
and cuts the rest to `min(pitch, 2 U - 2)` frames, so that T is enough and the three are never read; `T >= 2 U - 2` is
asked for here, without which its mels would be shorter than its units. T and U come from copies of two rates, whose
lengths round differently: a pitch that is one frame short gets an unvoiced one, one that is longer is cut.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vcpipe.errors import InputError
from vcpipe.exchange.columns import Columns, Need, sound
from vcpipe.exchange.files import (
    distinct,
    own_name,
    safe_name,
    whole_folder,
    write_list,
    write_npy,
    write_pt,
    write_wav,
)
from vcpipe.exchange.tree import VECTOR_GRID
from vcpipe.grid import Grid
from vcpipe.manifest import by_speaker

if TYPE_CHECKING:
    from vcpipe.manifest import Utterance

log = logging.getLogger(__name__)

NAME = "grad-svc"
BANDS, WIDTH = 100, 256
MIN_PITCH = 251
_MEL = {"n_fft": 1024, "win": 1024, "fmin": 40.0, "fmax": 16000.0, "floor": 1e-5, "power": 1, "log": "ln"}
NEEDS = (
    Need(
        "mel",
        "features: {mel_gradsvc: {kind: mel, preset: gradsvc}}",
        fps=100,
        rate=32000,
        dims=(BANDS,),
        kinds=("mel",),
        settings={**_MEL, "centre": "cell", "pre_emphasis": 0.0},
    ),
    Need("hubert", "features: {hubert_soft: {kind: hubert_soft}}", 50, 16000, (WIDTH,), ("hubert_soft",)),
    Need("pitch", "features: {f0: {kind: f0, method: praat, hop: 160}}", fps=100, dims=(1, 2), kinds=("f0",)),
    Need("speaker", "features: {ge2e: {kind: ge2e}}", dims=(WIDTH,), row="utterance"),
    Need(
        "singer",
        "features: {voices: {kind: speaker_mean, of: ge2e}}",
        dims=(WIDTH,),
        row="speaker",
        optional=True,
    ),
    sound("wav_16k", 16000, optional=True),
    sound("wav_32k", 32000, optional=True),
)
FOLDERS = {"mel": "mel", "hubert": "hubert", "pitch": "pitch", "speaker": "speaker"}
FOLDERS |= {"wav_16k": "waves-16k", "wav_32k": "waves-32k"}
SUFFIXES = {"mel": ".mel.pt", "hubert": ".vec.npy", "pitch": ".pit.npy", "speaker": ".spk.npy"}
SUFFIXES |= {"wav_16k": ".wav", "wav_32k": ".wav"}
GRIDS = {
    "mel": Grid(32000, 320),
    "hubert": Grid(16000, 320),
    "pitch": Grid(16000, 160),
    "speaker": VECTOR_GRID,
    "wav_16k": Grid(16000, 1),
    "wav_32k": Grid(32000, 1),
}
LISTED = ("mel", "hubert", "pitch", "speaker")
"""What a line of `files/*.txt` names, in its order."""


def export(manifest: Path, given: Sequence[str], to: Path) -> int:
    """Writes the layout below `to`; copy or link `data_gvc/` and `files/` from there to where the trainer runs.

    Args:
        manifest: table of the utterances.
        given: `name=FOLDER` of the columns in `NEEDS`.
        to: a new or empty folder.

    Returns:
        The number of utterances written.

    Raises:
        InputError: for a column that does not fit, and for an utterance whose columns differ in length.
    """
    with Columns(NAME, NEEDS, given) as columns, whole_folder(to) as tmp:
        utterances = columns.utterances(manifest)
        places = {u.utt_id: f"{safe_name(u.speaker)}/{own_name(u)}" for u in utterances}
        distinct((place, utt_id) for utt_id, place in places.items())
        distinct((safe_name(u.speaker), u.speaker) for u in utterances)
        lists: dict[str, list[str]] = {"train": [], "valid": []}
        short = 0
        for speaker, spoken in by_speaker(utterances):
            total = np.zeros(WIDTH)
            for u in spoken:
                frames = _write(columns, u, tmp / "data_gvc", places[u.utt_id])
                short += frames < MIN_PITCH
                total += columns["speaker"].vector(u.utt_id)
                line = "|".join(f"./data_gvc/{FOLDERS[n]}/{places[u.utt_id]}{SUFFIXES[n]}" for n in LISTED)
                lists[u.split or "train"].append(line)
            mean = columns["singer"].vector(speaker) if "singer" in columns else total / len(spoken)
            write_npy(tmp / "data_gvc" / "singer" / f"{safe_name(speaker)}.spk.npy", mean.astype(np.float32))
        for split, lines in lists.items():
            write_list(tmp / "files" / f"{split}.txt", lines)
    if short:
        log.warning(
            "%s: %d utterances have fewer than %d frames; the trainer will leave them out", to, short, MIN_PITCH
        )
    if not lists["valid"]:
        log.warning("%s: no utterance is of the split valid; the trainer needs four in files/valid.txt", to)
    return len(utterances)


def _write(columns: Columns, u: Utterance, root: Path, place: str) -> int:
    """One utterance; returns its frames of 10 ms."""
    import torch

    mel, units = columns["mel"].read(u.utt_id), columns["hubert"].read(u.utt_id)
    pitch = columns["pitch"].read(u.utt_id)[:, 0]
    frames = len(mel)
    if not 2 * len(units) - 2 <= frames <= 2 * len(units) + 2 or len(pitch) < frames - 1:
        raise InputError(
            f"{u.utt_id}: {frames} mel frames, {len(units)} units and {len(pitch)} of pitch, expected T, T/2 and T; "
            "make them from copies of the same recordings"
        )
    hz = np.zeros(frames, np.float32)
    hz[: len(pitch)] = pitch[:frames]

    def at(name: str) -> Path:
        return root / FOLDERS[name] / f"{place}{SUFFIXES[name]}"

    write_pt(at("mel"), torch.from_numpy(np.ascontiguousarray(mel.T, np.float32)))
    write_npy(at("hubert"), units.astype(np.float32))
    write_npy(at("pitch"), hz)
    write_npy(at("speaker"), columns["speaker"].vector(u.utt_id).astype(np.float32))
    for name in ("wav_16k", "wav_32k"):
        if name in columns:
            write_wav(at(name), columns[name].blocks(u.utt_id), columns[name].grid.rate)
    return frames
