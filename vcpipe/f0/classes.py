"""F0 as the numbers of classes, as the systems that embed or predict it count them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

COARSE_BINS, COARSE_LOW_HZ, COARSE_HIGH_HZ = 256, 50.0, 1100.0
PITCH_CLASSES, PITCH_CLASSES_PER_OCTAVE, PITCH_LOW_HZ = 512, 48, 10.0


def f0_to_coarse(f0_hz: NDArray[np.floating]) -> NDArray[np.int64]:
    """`(T,)` Hz to bins 1 to 255 of equal width in mel (1127 ln(1 + f/700)), 50 Hz at 1 and 1100 Hz at 255.

    As in Grad-SVC: what is unvoiced (0) or lower is 1, what is higher is 255, and bin 0 is never used.
    """
    import numpy as np

    def mel(hz: NDArray[np.floating] | float) -> NDArray[np.float64]:
        return 1127 * np.log1p(np.asarray(hz, np.float64) / 700)

    low, high = mel(COARSE_LOW_HZ), mel(COARSE_HIGH_HZ)
    place = (mel(f0_hz) - low) * (COARSE_BINS - 2) / (high - low) + 1
    return np.rint(place.clip(1, COARSE_BINS - 1)).astype(np.int64)


def f0_to_class(f0_hz: NDArray[np.floating]) -> NDArray[np.int64]:
    """`(T,)` Hz to 512 classes, 48 an octave (25 cents) above 10 Hz; unvoiced (0) is class 0. As in FasterSVC."""
    import numpy as np

    octaves = np.log2(np.maximum(np.asarray(f0_hz, np.float64), PITCH_LOW_HZ) / PITCH_LOW_HZ)
    return np.rint((PITCH_CLASSES_PER_OCTAVE * octaves).clip(0, PITCH_CLASSES - 1)).astype(np.int64)


def class_to_f0(classes: NDArray[np.integer]) -> NDArray[np.float32]:
    """The way back, `(T,)` Hz; class 0 is unvoiced, 0 Hz."""
    import numpy as np

    classes = np.asarray(classes)
    hz = PITCH_LOW_HZ * 2 ** (classes.astype(np.float64) / PITCH_CLASSES_PER_OCTAVE)
    return np.where(classes > 0, hz, 0.0).astype(np.float32)
