"""Extractors of signal processing: numpy in, numpy out, no torch; the sibling of `vcpipe.features.base.Extractor`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from vcpipe.errors import InputError
from vcpipe.features import windows
from vcpipe.settings import FeatureSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class SignalExtractor:
    """`(N,)` samples at `settings.grid.rate` become `(T, D)` frames with `T == settings.grid.frames(N)`.

    A kind answers `frames`; long recordings are cut here, in windows that overlap, so that memory does not grow with
    them. It promises: the same numbers on every call, finite for silence. A recording is an array, a tensor, or
    anything one-dimensional of floats that can be sliced.

    Args:
        settings: of the feature; `grid` and `dim` are read from it.
        window: samples that are looked at at once, a whole number of hops.
        margin: samples on each side of a window that give context and are thrown away, a whole number of hops.
    """

    def __init__(self, settings: FeatureSettings, window: int, margin: int):
        windows.check_windows(settings, window, margin)
        self.settings, self.grid, self.window, self.margin = settings, settings.grid, window, margin

    def frames(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        """`(n,)` float32 in [-1, 1], at most a window of it, to `(grid.frames(n), D)`."""
        raise NotImplementedError

    def __call__(self, wave: Any) -> NDArray[np.float32]:
        """One recording `(N,)` in [-1, 1] to `(T, D)` float32.

        Raises:
            InputError: for a recording that is not one-dimensional, shorter than a hop, or not finite, and for a
                method that answers with the wrong number of frames.
        """
        import numpy as np

        return np.concatenate(list(self.stream(wave)))

    def batch(self, waves: Sequence[Any]) -> list[NDArray[np.float32]]:
        """Many recordings, one after the other, in their order."""
        return [self(wave) for wave in waves]

    def stream(self, source: Any) -> Iterator[NDArray[np.float32]]:
        """The same frames as `__call__`, as consecutive blocks `(t_i, D)` of one window each, in constant memory."""
        import numpy as np

        n = windows.n_samples(self.settings, source)
        for piece in windows.pieces(n, self.grid.hop, self.window, self.margin):
            wave = windows.read(self.settings, source, piece)
            found = np.asarray(self.frames(wave), np.float32)
            expected = (self.grid.frames(len(wave)), self.settings.dim)
            if found.shape != expected:
                raise InputError(
                    f"feature {self.settings.kind}: {found.shape} frames x columns for {len(wave)} samples, expected "
                    f"{expected} on grid {self.grid}; this is a fault of the feature's code"
                )
            at = piece.start // self.grid.hop
            block = found[piece.first - at : piece.last - at]
            if not np.isfinite(block).all():
                raise InputError(
                    f"feature {self.settings.kind}: frames are not finite at {windows.where(self.settings, piece)}; "
                    "this is a fault of the feature's code"
                )
            yield block
