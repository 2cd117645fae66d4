"""What every method answers with, and what every method asks of its input."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from vcpipe.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Track(NamedTuple):
    """Estimates at a method's own times: `times_s (K,)` ascending, `f0_hz (K,)` (0 = unvoiced), `voiced (K,)` bool."""

    times_s: NDArray[np.float64]
    f0_hz: NDArray[np.float64]
    voiced: NDArray[np.bool_]


class Limits(NamedTuple):
    """What a method can hear, Hz."""

    lowest_hz: float
    highest_hz: float


def check(method: str, limits: Limits, wave: Any, rate: int, floor_hz: float, ceil_hz: float, frame_s: float) -> None:
    """Refuses what no estimate can be made from.

    Raises:
        InputError: for anything but a mono recording of finite floats, and for a range that the method cannot hear.
    """
    import numpy as np

    shape, kind = np.shape(wave), str(getattr(wave, "dtype", "?"))
    if len(shape) != 1 or shape[0] == 0 or "float" not in kind:
        raise InputError(
            f"f0 {method}: expected a recording (N,) of floats, found shape {shape} of {kind}; mix it down"
        )
    if not np.isfinite(wave).all():
        raise InputError(f"f0 {method}: sample {int(np.argmin(np.isfinite(wave)))} is not finite; repair the recording")
    if frame_s * rate < 1:
        raise InputError(f"f0 {method}: expected frames of at least a sample, found {frame_s} s at {rate} samples/s")
    check_range(method, limits, rate, floor_hz, ceil_hz)


def check_range(method: str, limits: Limits, rate: int, floor_hz: float, ceil_hz: float) -> None:
    """`floor_hz` and `ceil_hz` lie in what the method hears and what the rate carries; else an InputError."""
    highest = min(limits.highest_hz, rate / 2)
    if not limits.lowest_hz <= floor_hz < ceil_hz <= highest:
        raise InputError(
            f"f0 {method}: floor_hz {floor_hz:g} and ceil_hz {ceil_hz:g}, expected {limits.lowest_hz:g} <= floor_hz < "
            f"ceil_hz <= {highest:g} at {rate} samples/s; change them, or the method"
        )


def tidy(times_s: Any, f0_hz: Any, voiced: Any, floor_hz: float, ceil_hz: float) -> Track:
    """A `Track` that keeps its promises: what lies outside the range is unvoiced, and what is unvoiced is 0 Hz."""
    import numpy as np

    times_s, f0_hz = np.asarray(times_s, np.float64), np.nan_to_num(np.asarray(f0_hz, np.float64))
    sure = np.asarray(voiced, bool) & (f0_hz >= floor_hz) & (f0_hz <= ceil_hz)
    return Track(times_s, np.where(sure, f0_hz, 0.0), sure)


def lead_in(wave: NDArray[np.float32], rate: int, frame_s: float) -> tuple[NDArray[np.float64], float]:
    """Half a frame of silence before a recording, and its length in seconds.

    A method whose frames stand at whole multiples of `frame_s` then has one at the centre of every cell.
    """
    import numpy as np

    lead = round(frame_s * rate / 2)
    return np.concatenate([np.zeros(lead), wave.astype(np.float64)]), lead / rate


def centres(n_samples: int, rate: int, frame_s: float) -> NDArray[np.float64]:
    """`(K,)` seconds: the centres of the cells of `frame_s` that cover a recording, the last one in part."""
    import numpy as np

    n_frames = max(1, math.ceil(n_samples / rate / frame_s - 1e-9))
    return (np.arange(n_frames, dtype=np.float64) + 0.5) * frame_s


def missing(method: str, package: str, name: str) -> InputError:
    """The error for a method whose package is not installed."""
    return InputError(
        f"f0 method {method}: expected the package {package}, found none; type `pip install {name}`, or choose another "
        "method"
    )
