"""How a long recording is cut into overlapping windows, and what a recording must be. Free of torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from vcpipe.errors import InputError
from vcpipe.settings import FeatureSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Piece(NamedTuple):
    """Samples `[start, stop)` that are encoded at once, for the frames `[first, last)` of the recording."""

    start: int
    stop: int
    first: int
    last: int


def pieces(n: int, hop: int, window: int, margin: int) -> Iterator[Piece]:
    """Cuts `n` samples into windows that start on a hop; every frame is kept once, at least `margin` from a cut.

    The last window is moved back, so that it has its whole length of context too.
    """
    start = first = 0
    while start + window < n:
        last = (start + window - margin) // hop
        yield Piece(start, start + window, first, last)
        first = last
        start = min(first * hop - margin, -(-(n - window) // hop) * hop)
    yield Piece(start, n, first, n // hop)


def check_windows(settings: FeatureSettings, window: int, margin: int) -> None:
    """Windows and margins are whole hops, and a window is longer than its margins; else an InputError."""
    hop = settings.grid.hop
    if window % hop or margin % hop or margin < 0 or window <= 2 * margin:
        raise InputError(
            f"feature {settings.kind}: window {window} and margin {margin} samples must be whole hops of {hop}, "
            "and the window longer than two margins; change the window or the margin"
        )


def n_samples(settings: FeatureSettings, source: Any) -> int:
    """The length of a recording whose shape and type are right; its samples are not looked at.

    Raises:
        InputError: for one that is not one-dimensional, not of floats, or shorter than a hop.
    """
    shape = tuple(source.shape) if hasattr(source, "shape") else (len(source),)
    kind = str(getattr(source, "dtype", "float"))
    if len(shape) != 1 or "float" not in kind:
        raise InputError(
            f"feature {settings.kind}: expected a recording (N,) of floats in [-1, 1], found shape {shape} "
            f"of {kind}; mix channels down and scale integers first"
        )
    if shape[0] < settings.grid.hop:
        raise InputError(
            f"feature {settings.kind}: a recording of {shape[0]} samples is shorter than one frame of "
            f"{settings.grid.hop}; leave it out (min_s of the audio block)"
        )
    return int(shape[0])


def read(settings: FeatureSettings, source: Any, piece: Piece) -> NDArray[np.float32]:
    """The samples of a piece as `(n,)` float32; an InputError names the first that is not finite."""
    import numpy as np

    samples = source[piece.start : piece.stop]
    wave = np.array(samples.detach().cpu().numpy() if hasattr(samples, "detach") else samples, np.float32)
    finite = np.isfinite(wave)
    if not finite.all():
        bad = piece.start + int(np.argmin(finite))
        raise InputError(f"feature {settings.kind}: sample {bad} of the recording is not finite; repair the file")
    return wave


def where(settings: FeatureSettings, piece: Piece) -> str:
    """A piece in words, for an error."""
    rate = settings.grid.rate
    return f"{piece.start / rate:.2f} to {piece.stop / rate:.2f} s of the recording"
