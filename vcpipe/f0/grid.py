"""From a method's own times to the cells of a grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vcpipe.f0.track import Track
from vcpipe.grid import Grid

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def on_grid(track: Track, grid: Grid, n_samples: int) -> NDArray[np.float32]:
    """`(T, 2)` float32 of f0 in Hz (0 where unvoiced) and voiced (0 or 1), `T == grid.frames(n_samples)`.

    Frame i is the estimate at the centre of its cell, `(i + 0.5) * hop / rate` seconds. Its voicing is that of the
    nearest estimate (of two as near, the earlier). Log-f0 is interpolated linearly between the two estimates
    around it where both are voiced; beside an edge it is that of the nearest, so that none lies half way to zero. A
    cell farther from every estimate than these are apart is unvoiced.
    """
    import numpy as np

    n_frames = grid.frames(n_samples)
    out = np.zeros((n_frames, 2), np.float32)
    times, f0, voiced = track
    if n_frames == 0 or len(times) == 0:
        return out
    centre = (np.arange(n_frames) + 0.5) * grid.hop / grid.rate
    after = np.searchsorted(times, centre).clip(0, len(times) - 1)
    before = np.maximum(after - 1, 0)
    nearest = np.where(centre - times[before] <= times[after] - centre, before, after)
    nearest = np.where(centre >= times[-1], len(times) - 1, nearest)
    apart = np.diff(times).max() if len(times) > 1 else grid.hop / grid.rate
    known = voiced[nearest] & (np.abs(times[nearest] - centre) <= apart)
    log_f0 = np.log(np.where(voiced, f0, 1.0))
    span = times[after] - times[before]
    share = np.where(span > 0, (centre - times[before]) / np.where(span > 0, span, 1.0), 0.0).clip(0, 1)
    between = log_f0[before] + share * (log_f0[after] - log_f0[before])
    inside = voiced[before] & voiced[after]
    out[:, 0] = np.where(known, np.exp(np.where(inside, between, log_f0[nearest])), 0.0)
    out[:, 1] = known
    return out
