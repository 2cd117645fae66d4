"""The frame arithmetic of the whole project: a sampling rate, a hop, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from vcpipe.errors import InputError


@dataclass(frozen=True)
class Grid:
    """A regular division of a recording into frames; frame i covers samples `[i*hop, (i+1)*hop)`.

    Args:
        rate: samples per second.
        hop: samples per frame.
    """

    rate: int
    hop: int

    def __post_init__(self) -> None:
        if self.rate <= 0 or self.hop <= 0:
            raise InputError(f"grid {self.rate}/{self.hop}: rate and hop must both be positive")

    def __str__(self) -> str:
        return f"{self.rate}/{self.hop}"

    @property
    def fps(self) -> Fraction:
        """Frames per second, exactly."""
        return Fraction(self.rate, self.hop)

    def frames(self, n_samples: int) -> int:
        """How many whole frames a recording of `n_samples` has."""
        return n_samples // self.hop

    def samples(self, n_frames: int) -> int:
        """How many samples `n_frames` cover."""
        return n_frames * self.hop

    def zips(self, other: Grid) -> bool:
        """Whether a frame of one grid spans a whole number of frames of the other."""
        ratio = self.fps / other.fps
        return ratio.denominator == 1 or ratio.numerator == 1

    def ratio(self, other: Grid) -> int:
        """How many frames of `other` one frame of this grid spans; refused unless a whole number."""
        ratio = other.fps / self.fps
        if ratio.denominator != 1:
            raise InputError(
                f"grid {self} ({float(self.fps):g} frames/s) cannot be zipped with {other} ({float(other.fps):g} "
                "frames/s): one frame must span a whole number of the other's; change hop or rate of one feature"
            )
        return ratio.numerator
