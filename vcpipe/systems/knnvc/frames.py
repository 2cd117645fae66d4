"""What is known of recordings frame by frame, and what a vocoder hears of it.

A vocoder hears the frames that a conversion made, and beside them, where its run asks for that, streams of the source:
`content`, its own frames without their mean and spread, which hold most of the speaker; and `pitch`, its F0, moved to
the target's register.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from vcpipe.errors import InputError
from vcpipe.f0.contour import speaker_statistics
from vcpipe.systems.knnvc.spectrum import MOST_SPREAD, Spectrum

LEAST_SPREAD = 1e-4
"""Added to the spread of a column of content, so that one that does not move stays 0."""


class Frames:
    """Frames of one or many recordings on end: `match (T, D)` for comparing, `synthesis (T, E)` for the vocoder.

    Where the vocoder hears more: `content (T, C)`, of a source as its extractor gives it, of a pool less its mean and
    spread; and `f0 (T, 2)` float32, Hz (0 where unvoiced) and voiced. `spectrum` of a pool is what `spectrum.long_term`
    has of it.
    """

    def __init__(
        self,
        match: Tensor,
        synthesis: Tensor,
        content: Tensor | None = None,
        f0: Tensor | None = None,
        spectrum: Spectrum | None = None,
    ):
        self.match, self.synthesis, self.content, self.f0, self.spectrum = match, synthesis, content, f0, spectrum

    def __len__(self) -> int:
        return len(self.match)

    def half(self) -> Frames:
        """What is compared and averaged in half precision, for a pool; frames that are one stay one."""
        known: dict[int, Tensor] = {}

        def halved(frames: Tensor) -> Tensor:
            if id(frames) not in known:
                known[id(frames)] = frames.half()
            return known[id(frames)]

        content = None if self.content is None else halved(self.content)
        return Frames(halved(self.match), halved(self.synthesis), content, self.f0)

    def stretched(self, n_frames: int) -> Frames:
        """Linearly in time to `n_frames`; of F0 the nearest frame, since between 0 and a pitch there is none."""
        found = _stretch(self.match, n_frames)
        return Frames(
            found,
            found if self.synthesis is self.match else _stretch(self.synthesis, n_frames),
            None if self.content is None else _stretch(self.content, n_frames),
            None if self.f0 is None else _stretch(self.f0, n_frames, mode="nearest-exact"),
            self.spectrum,
        )


Voice = tuple[Tensor, Tensor]
"""Mean and spread `(D,)` of the frames of a voice, column by column, float32."""


def voice_of(frames: Tensor) -> Voice:
    """What is a voice's own in its frames `(N, D)`."""
    frames = frames.float()
    return frames.mean(dim=0), frames.std(dim=0, correction=0) + LEAST_SPREAD


def less_voice(frames: Tensor, voice: Voice) -> Tensor:
    """Frames `(T, D)` less the mean and the spread of a voice, float32.

    What is left to compare between two voices is what they say.
    """
    mean, spread = voice
    return (frames.float() - mean) / spread


def joined(parts: Sequence[Frames]) -> Frames:
    """Recordings on end; frames that are one stay one."""
    found = torch.cat([part.match for part in parts])
    f0 = [part.f0 for part in parts if part.f0 is not None]

    def on_end(kind: str) -> Tensor | None:
        frames = [getattr(part, kind) for part in parts]
        if all(x is part.match for x, part in zip(frames, parts, strict=True)):
            return found
        return None if any(x is None for x in frames) else torch.cat(frames)

    synthesis = on_end("synthesis")
    assert synthesis is not None
    return Frames(found, synthesis, on_end("content"), torch.cat(f0) if f0 else None)


def own_units(source: Frames, with_content: bool) -> Tensor:
    """What neighbours would give of a source, of itself: `(T, E)`, with the normalised content first `(T, C + E)`."""
    if not with_content:
        return source.synthesis.float()
    if source.content is None:
        raise InputError("own_content: the source has no content; make it with the converter of the same run")
    return torch.cat([normalised(source.content), source.synthesis.float()], dim=1)


def assemble(synthesis: Tensor, content: Tensor | None = None, f0: Tensor | None = None) -> Tensor:
    """What a vocoder hears: `(T, C + E + 2)` float32 on the device of `synthesis`, in the order of the arguments below.

    Args:
        content: `(T, C)` frames of the recording, or what they were mixed to; normalised here.
        synthesis: `(T, E)` frames.
        f0: `(T, 2)` Hz and voiced.
    """
    parts = [None if content is None else normalised(content), synthesis, f0]
    given = [part.to(synthesis.device, torch.float32) for part in parts if part is not None]
    if len({len(part) for part in given}) > 1:
        raise InputError(
            f"units: expected as many frames of content, synthesis and pitch, found {[len(part) for part in given]}; "
            "make their shards again with snakemake"
        )
    return torch.cat(given, dim=1) if len(given) > 1 else given[0]


def normalised(content: Tensor) -> Tensor:
    """Frames `(T, C)` of one recording with mean 0 and spread 1 in every column, float32."""
    return less_voice(content, voice_of(content))


def in_voice(
    source: Frames,
    synthesis: Tensor,
    own: Tensor | None,
    target: Tensor | None,
    share: float = 1.0,
    transpose: float = 0.0,
    pitch_spread: float = 0.0,
    own_content: float = 1.0,
) -> Tensor:
    """What a vocoder hears of a source whose frames a conversion replaced: see `assemble`.

    Args:
        synthesis: `(T, E)` what they were replaced by.
        own: `(N, 2)` F0 of recordings of the source's speaker; None: the source itself.
        target: `(P, 2)` F0 of the voice to take.
        share: of the way to the target's register, as far as `synthesis` is the target's; 0: the source's own.
        transpose: semitones on top.
        pitch_spread: how far the spread of ln F0 follows too, in ratios.
        own_content: share of the source in the content; below 1 `synthesis` begins with that of the neighbours,
            normalised.
    """
    content = source.content
    if own_content < 1 and content is not None:
        width = content.shape[1]
        theirs, synthesis = synthesis[:, :width], synthesis[:, width:]
        content = torch.lerp(theirs, normalised(content).to(theirs), own_content)
    if source.f0 is None:
        return assemble(synthesis, content)
    f0 = moved(source.f0, source.f0 if own is None else own, target, share, transpose, pitch_spread)
    return assemble(synthesis, content, f0)


def moved(
    f0: Tensor,
    own: Tensor,
    target: Tensor | None,
    share: float = 1.0,
    transpose: float = 0.0,
    spread: float = 0.0,
) -> Tensor:
    """A contour `(T, 2)` in another register: ln Hz plus the difference of the medians of two voices' voiced frames.

    With `spread` it also moves up and down as much more or less as the target's 5th and 95th percentiles are further
    apart than its own, by a factor of `MOST_SPREAD` at the most; beyond its own percentiles no further than it did.

    A contour without a voiced frame stays as it is.

    Raises:
        InputError: where one of the voices that decide has no voiced frame.
    """
    if not bool(f0[:, 1].any()):
        return f0
    step = transpose * math.log(2) / 12
    if not share:
        return torch.stack([f0[:, 0] * math.exp(step), f0[:, 1]], dim=1)
    if target is None:
        raise InputError("pitch: the pool has no F0; make it with the converter of the same run")
    median, low, high = _range(own, "the source's speaker")
    median_of_target, low_of_target, high_of_target = _range(target, "the references")
    growth = 1.0
    if high > low and high_of_target > low_of_target:
        growth = min(max((high_of_target - low_of_target) / (high - low), 1 / MOST_SPREAD), MOST_SPREAD)
    ln_hz = f0[:, 0].log()  # of 0 Hz: -inf, which it stays
    within = ln_hz.clamp(low, high)
    wider = (growth ** (share * spread) - 1) * (within - median)
    return torch.stack([(ln_hz + wider + share * (median_of_target - median) + step).exp(), f0[:, 1]], dim=1)


def _range(f0: Tensor, whose: str) -> tuple[float, float, float]:
    """Of ln Hz the median, the 5th and the 95th percentile."""
    if not bool((f0[:, 1] > 0).any()):
        raise InputError(
            f"pitch: expected voiced frames of {whose}, found none in {len(f0)} frames; give recordings with speech"
        )
    values = f0.cpu().numpy()
    found = speaker_statistics([(values[:, 0], values[:, 1])])
    return found["median_log_f0"], math.log(found["p05_hz"]), math.log(found["p95_hz"])


def _stretch(frames: Tensor, n_frames: int, mode: str = "linear") -> Tensor:
    align = False if mode == "linear" else None
    return torch.nn.functional.interpolate(frames.float().T[None], n_frames, mode=mode, align_corners=align)[0].T
