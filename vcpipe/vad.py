"""Where speech begins and ends, by silero-vad (its weights are in the wheel)."""

from __future__ import annotations

import functools
import logging
from typing import Any

from vcpipe.audio import Wave

log = logging.getLogger(__name__)


def speech_bounds(wave: Wave, rate: int) -> tuple[int, int]:
    """First and last sample of speech in `(N,)` float32, with 30 ms kept on both sides.

    Where no speech is found the whole recording is kept, and said so: an empty reference helps nobody.

    Args:
        rate: 16000 or 8000.
    """
    import torch
    from silero_vad import get_speech_timestamps

    spans = get_speech_timestamps(torch.from_numpy(wave), _model(), sampling_rate=rate)
    if not spans:
        log.warning("no speech found in %.2f s of reference; all of it is used", len(wave) / rate)
        return 0, len(wave)
    return int(spans[0]["start"]), int(spans[-1]["end"])


@functools.cache
def _model() -> Any:
    from silero_vad import load_silero_vad

    return load_silero_vad()
