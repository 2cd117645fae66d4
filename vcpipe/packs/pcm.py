"""Sound as whole numbers of 16 bits: nothing is left to decode, and what came from 16 bits unscaled stays exact."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vcpipe.errors import InputError


def to_int16(wave: NDArray[np.float32]) -> NDArray[np.int16]:
    """Float32 in [-1, 1] as multiples of 2**-15, rounded; 1.0, which has none, differs by 2**-15.

    Raises:
        InputError: beyond [-1, 1], where it would be clipped.
    """
    check_range(wave)
    numbers: NDArray[np.int16] = np.rint(wave * np.float32(2**15)).clip(-(2**15), 2**15 - 1).astype(np.int16)
    return numbers


def from_int16(numbers: NDArray[np.int16]) -> NDArray[np.float32]:
    """Multiples of 2**-15 as float32 in [-1, 1)."""
    return np.multiply(numbers, np.float32(2.0**-15), dtype=np.float32)


def check_range(wave: NDArray[np.float32]) -> None:
    """An InputError when whole numbers cannot hold the sound."""
    peak = float(np.abs(wave).max(initial=0.0))
    if peak > 1:
        raise InputError(
            f"audio reaches {peak:.3f}, whole numbers clip beyond 1; prepare the corpus again, it scales to [-1, 1]"
        )
