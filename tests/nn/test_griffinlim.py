"""Sound of a mel without a vocoder: as long as its frames, as loud, and of the same pitch."""

import numpy as np
import pytest
import torch

from vcpipe.nn.griffinlim import griffin_lim
from vcpipe.nn.mel import LogMel

RATE, HOP = 16000, 160


def voice(hz: float, seconds: float = 1.0) -> torch.Tensor:
    t = torch.arange(round(seconds * RATE)) / RATE
    harmonics = [torch.sin(2 * torch.pi * k * hz * t) / k for k in range(1, 20)]
    return 0.1 * torch.stack(harmonics).sum(0)


def mel_of(wave: torch.Tensor) -> torch.Tensor:
    return LogMel(RATE, 1024, 1024, HOP, 128, fmax=8000.0)(wave[None])[0].T


@pytest.mark.parametrize("hz", [100.0, 220.0])
def test_the_mel_of_what_it_makes_is_the_mel_that_it_was_given(hz: float) -> None:
    mel = mel_of(voice(hz))
    made = griffin_lim(mel, RATE, HOP, fmax=8000.0)
    assert made.shape == (HOP * len(mel),) and made.dtype == torch.float32
    heard = mel_of(made)
    loud = mel > mel.max() - 6
    assert (heard - mel)[loud].abs().mean() < 0.3
    spectrum = np.abs(np.fft.rfft(made.numpy() * np.hanning(len(made))))
    bins = np.fft.rfftfreq(len(made), 1 / RATE)
    low = (bins > 50) & (bins < 1.5 * hz)
    assert bins[low][spectrum[low].argmax()] == pytest.approx(hz, abs=3)


def test_silence_stays_silent_and_the_same_mel_gives_the_same_sound() -> None:
    silent = torch.full((50, 128), np.log(1e-5))
    assert griffin_lim(silent, RATE, HOP, fmax=8000.0).abs().max() < 1e-3
    mel = mel_of(voice(150.0, 0.5))
    assert torch.equal(griffin_lim(mel, RATE, HOP), griffin_lim(mel, RATE, HOP))


def test_one_frame_is_enough() -> None:
    assert griffin_lim(mel_of(voice(150.0))[:1], RATE, HOP).shape == (HOP,)
