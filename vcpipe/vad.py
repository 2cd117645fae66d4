"""Where speech begins and ends, by silero-vad (its weights are in the wheel)."""

from __future__ import annotations

import functools
import logging
from typing import Any

from vcpipe.audio import Wave

log = logging.getLogger(__name__)

RATES = (16000, 8000)  # samples/s that the network was trained for


def speech_bounds(wave: Wave, rate: int) -> tuple[int, int]:
    """First and last sample of speech in `(N,)` float32 at `rate`, with 30 ms kept on both sides.

    Where no speech is found the whole recording is kept, and said so: an empty reference helps nobody.
    The network hears 16 or 8 kHz; a recording at another rate is brought to 16 kHz for it.
    """
    import soxr
    import torch
    from silero_vad import get_speech_timestamps

    heard_rate = rate if rate in RATES else RATES[0]
    heard = wave if rate == heard_rate else soxr.resample(wave, rate, heard_rate)
    spans = get_speech_timestamps(torch.from_numpy(heard), _model(), sampling_rate=heard_rate)
    if not spans:
        log.warning("no speech found in %.2f s of reference; all of it is used", len(wave) / rate)
        return 0, len(wave)
    start, stop = (int(sample) * rate // heard_rate for sample in (spans[0]["start"], spans[-1]["end"]))
    return start, min(stop, len(wave))


@functools.cache
def _model() -> Any:
    from silero_vad import load_silero_vad

    return load_silero_vad()
