"""FasterSVC (github.com/uthree/fastersvc): its `dataset_cache/` of one-second items, and who speaks in them.

`dataset_cache/<i>.wav` has 24000 samples at 24 kHz, the last item of a recording with zeros at its end; `<i>.pt` is a
tuple of float32 F0 `(1, 50)` in Hz, 0 where unvoiced, and the number of the speaker. `speaker_infomation.json` (sic)
maps the number, as a string, to the speaker. Speakers beyond 8192 share the last number, as in the original.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vcpipe.errors import InputError
from vcpipe.exchange.columns import Columns, Need, sound
from vcpipe.exchange.files import whole_folder, write_pt, write_wav

NAME = "fastersvc"
RATE, FPS = 24000, 50
MAX_SPEAKERS = 8192
NEEDS = (
    sound("wav", RATE),
    Need("f0", "features: {f0_24k: {kind: f0, rate: 24000, hop: 480}}", fps=FPS, dims=(1, 2), kinds=("f0",)),
)


def export(manifest: Path, given: Sequence[str], to: Path) -> int:
    """Writes the layout; give `to`/dataset_cache as the trainers' cache.

    Args:
        manifest: table of the utterances.
        given: `name=FOLDER` of the columns in `NEEDS`.
        to: a new or empty folder.

    Returns:
        The number of items written.

    Raises:
        InputError: for a column that does not fit, and for an utterance whose F0 does not cover its sound.
    """
    import torch

    count = 0
    speakers: dict[str, int] = {}
    with Columns(NAME, NEEDS, given) as columns, whole_folder(to) as tmp:
        cache = tmp / "dataset_cache"
        cache.mkdir()
        for u in columns.utterances(manifest):
            wav, f0 = columns["wav"], columns["f0"].read(u.utt_id)[:, 0]
            samples = wav.length(u.utt_id)
            if abs(len(f0) - samples * FPS // RATE) > 1:
                raise InputError(
                    f"{u.utt_id}: {len(f0)} frames of f0, expected {samples * FPS // RATE} for {samples} samples; make "
                    "them from the same copy of the recordings"
                )
            number = min(speakers.setdefault(u.speaker, len(speakers)), MAX_SPEAKERS)
            for second, start in enumerate(range(0, samples, RATE)):
                item = np.zeros(RATE, np.float32)
                part = wav.read(u.utt_id, start, min(RATE, samples - start))[:, 0]
                item[: len(part)] = part
                hz = np.zeros((1, FPS), np.float32)
                heard = f0[second * FPS : (second + 1) * FPS]
                hz[0, : len(heard)] = heard
                write_wav(cache / f"{count}.wav", [item], RATE)
                write_pt(cache / f"{count}.pt", (torch.from_numpy(hz), number))
                count += 1
        names = {str(number): speaker for speaker, number in speakers.items()}
        (tmp / "speaker_infomation.json").write_text(json.dumps(names, ensure_ascii=False), encoding="utf-8")
    return count
