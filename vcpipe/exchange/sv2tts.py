"""SV2TTS (github.com/CorentinJ/Real-Time-Voice-Cloning): the folders of its encoder and of its synthesizer.

- `SV2TTS/encoder/<speaker>/<name>.npy`: float32 power mels `(T, 40)`, and `_sources.txt` with a line
  `<name>.npy,<path>` for each; utterances of fewer than 160 frames are left out, as there. Column `encoder_mel`.
- `SV2TTS/synthesizer/`: `audio/audio-<id>.npy` `(N,)`, `mels/mel-<id>.npy` `(T, 80)`, `embeds/embed-<id>.npy` `(256,)`,
  all float32, and `train.txt` with `audio|mel|embed|samples|frames|text`; utterances under 1.6 s and above 900 frames
  are left out, as there. Columns `wav`, `mel`, `embed`.

The original's mels have one frame more, centred on the end of the recording. Its trainers crop and pad frames, and cut
the sound to `200 T` samples, so that they need none. A comma in a source path, which would end it, becomes `_`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vcpipe.errors import InputError
from vcpipe.exchange.columns import Columns, Need, sound
from vcpipe.exchange.files import distinct, own_name, safe_name, whole_folder, write_list, write_npy
from vcpipe.manifest import Utterance, by_speaker

log = logging.getLogger(__name__)

NAME = "sv2tts"
RATE, HOP = 16000, 200
MIN_FRAMES = 160
MIN_SAMPLES = 25600
MAX_FRAMES = 900
_ENCODER = {"n_fft": 400, "win": 400, "fmin": 0.0, "fmax": 8000.0, "power": 2, "log": "none", "centre": "start"}
_SYNTHESIZER = {"n_fft": 800, "win": 800, "fmin": 55.0, "fmax": 7600.0, "power": 1, "log": "db", "centre": "start"}
NEEDS = (
    Need(
        "encoder_mel",
        "features: {mel_encoder: {kind: mel, preset: sv2tts_encoder}}",
        fps=100,
        rate=RATE,
        dims=(40,),
        kinds=("mel",),
        settings=_ENCODER,
        optional=True,
    ),
    sound("wav", RATE, optional=True),
    Need(
        "mel",
        "features: {mel_synthesizer: {kind: mel, preset: sv2tts_synthesizer}}",
        fps=RATE // HOP,
        rate=RATE,
        dims=(80,),
        kinds=("mel",),
        settings={**_SYNTHESIZER, "pre_emphasis": 0.97, "ref_db": 20.0, "symmetric": 4.0},
        optional=True,
    ),
    Need(
        "embed",
        "features: {ge2e: {kind: ge2e, rate_per_s: 1.25}}",
        dims=(256,),
        kinds=("ge2e",),
        row="utterance",
        optional=True,
    ),
)
SYNTHESIZER = ("wav", "mel", "embed")


def export(manifest: Path, given: Sequence[str], to: Path) -> int:
    """Writes the encoder's folder, the synthesizer's, or both, as the columns allow.

    Args:
        manifest: table of the utterances.
        given: `name=FOLDER` of `encoder_mel`, or of `wav`, `mel` and `embed`, or of all four.
        to: a new or empty folder, the originals' `datasets_root`.

    Returns:
        The number of utterances of the manifest, those left out for their length included.

    Raises:
        InputError: for a column that does not fit, a synthesizer's column that is missing, an utterance without text
            or with a `|` in it, and when no utterance is left.
    """
    with Columns(NAME, NEEDS, given) as columns, whole_folder(to) as tmp:
        there = [name for name in SYNTHESIZER if name in columns]
        if (there and len(there) < len(SYNTHESIZER)) or not (there or "encoder_mel" in columns):
            missing = ", ".join(f"--column {name}=FOLDER_OF_SHARDS" for name in SYNTHESIZER if name not in columns)
            raise InputError(
                f"{NAME} needs encoder_mel for the encoder, or wav, mel and embed for the synthesizer; add {missing}"
            )
        utterances = columns.utterances(manifest)
        if "encoder_mel" in columns:
            _encoder(columns, utterances, tmp / "SV2TTS" / "encoder")
        if there:
            _synthesizer(columns, utterances, tmp / "SV2TTS" / "synthesizer")
    return len(utterances)


def _encoder(columns: Columns, utterances: list[Utterance], root: Path) -> None:
    mels = columns["encoder_mel"]
    distinct((f"{safe_name(u.speaker)}/{own_name(u)}", u.utt_id) for u in utterances)
    distinct((safe_name(u.speaker), u.speaker) for u in utterances)
    left = 0
    for speaker, spoken in by_speaker(utterances):
        long = [u for u in spoken if mels.length(u.utt_id) >= MIN_FRAMES]
        for u in long:
            write_npy(root / safe_name(speaker) / f"{own_name(u)}.npy", mels.read(u.utt_id).astype(np.float32))
        if long:  # a speaker's folder without a file stops the trainer
            sources = [f"{own_name(u)}.npy,{_one_line(u.path).replace(',', '_')}" for u in long]
            write_list(root / safe_name(speaker) / "_sources.txt", sources)
        left += len(long)
    _report("encoder", left, len(utterances), f"shorter than {MIN_FRAMES} frames")


def _synthesizer(columns: Columns, utterances: list[Utterance], root: Path) -> None:
    names = {u.utt_id: safe_name(u.utt_id) for u in utterances}
    distinct((name, utt_id) for utt_id, name in names.items())
    lines = []
    for u in utterances:
        samples, frames = columns["wav"].length(u.utt_id), columns["mel"].length(u.utt_id)
        if abs(frames - samples // HOP) > 1:
            raise InputError(
                f"{u.utt_id}: {frames} mel frames, expected {samples // HOP} for {samples} samples; make them from the "
                "same copy of the recordings"
            )
        text = _one_line(u.text)
        if not text or "|" in text:
            raise InputError(f"{u.utt_id}: expected a text without |, found {text!r}; correct its transcript")
        if samples < MIN_SAMPLES or frames > MAX_FRAMES:
            continue
        audio, mel, embed = (f"{kind}-{names[u.utt_id]}.npy" for kind in ("audio", "mel", "embed"))
        write_npy(root / "audio" / audio, columns["wav"].read(u.utt_id)[:, 0].astype(np.float32))
        write_npy(root / "mels" / mel, columns["mel"].read(u.utt_id).astype(np.float32))
        write_npy(root / "embeds" / embed, columns["embed"].vector(u.utt_id).astype(np.float32))
        lines.append(f"{audio}|{mel}|{embed}|{samples}|{frames}|{text}")
    write_list(root / "train.txt", lines)
    _report("synthesizer", len(lines), len(utterances), f"under {MIN_SAMPLES / RATE} s or above {MAX_FRAMES} frames")


def _report(part: str, left: int, total: int, why: str) -> None:
    if not left:
        raise InputError(f"{NAME} {part}: all {total} utterances are {why}; give longer ones")
    if left < total:
        log.warning("%s %s: %d of %d utterances are left out: %s", NAME, part, total - left, total, why)


def _one_line(text: str) -> str:
    return " ".join(text.split())
