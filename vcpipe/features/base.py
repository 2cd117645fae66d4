"""What every extractor is: recordings in, frames out, the same in preparation, training and conversion."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from vcpipe.errors import InputError
from vcpipe.features import windows
from vcpipe.features.windows import Piece
from vcpipe.settings import FeatureSettings

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Extractor:
    """`(N,)` samples at `settings.grid.rate` become `(T, D)` frames with `T == settings.grid.frames(N)`.

    A kind answers `encode`; everything else (batches, long recordings) is done here once. It promises: the
    same numbers in a batch as alone (to 1e-4), the same on every call, finite for silence. A recording of at most
    `window` samples is encoded whole; a longer one in windows that overlap, so that memory does not grow with it.

    A recording is a tensor, or anything one-dimensional of floats that can be sliced (a numpy array, a memmap, an
    HDF5 dataset): of a long one only a window at a time is read.

    Args:
        settings: of the feature; `grid` and `dim` are read from it.
        device: where `encode` runs.
        window: samples that are encoded at once, a whole number of hops.
        margin: samples on each side of a window that give context and are thrown away, a whole number of hops.
    """

    ragged: bool = True
    """Whether `encode` takes recordings of unequal lengths together and still gives the numbers of single calls."""
    MAX_WASTE: ClassVar[float] = 0.1
    """Largest share of padding in a batch."""

    def __init__(self, settings: FeatureSettings, device: torch.device, window: int, margin: int):
        self.settings, self.grid, self.device = settings, settings.grid, device
        self.window, self.margin = window, margin
        windows.check_windows(settings, window, margin)
        self.limit = window * (8 if device.type == "cuda" else 1)
        """Samples, padding included, that `batch` gives to one call of `encode`."""

    def encode(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """`(B, N)` float32 in [-1, 1], zero beyond `lengths (B,)`, to `(B, max T, D)`; frames beyond are ignored."""
        raise NotImplementedError

    def __call__(self, wave: Any) -> Tensor:
        """One recording `(N,)` in [-1, 1] to `(T, D)` float32 on the CPU.

        Raises:
            InputError: for a recording that is not one-dimensional, shorter than a hop, or not finite, and for an
                encoder that answers with the wrong number of frames.
        """
        import torch

        out = torch.empty(self.grid.frames(windows.n_samples(self.settings, wave)), self.settings.dim)
        at = 0
        for block in self.stream(wave):
            out[at : at + len(block)] = block
            at += len(block)
        return out

    def stream(self, source: Any) -> Iterator[Tensor]:
        """The same frames as `__call__`, as consecutive blocks `(t_i, D)` of one window each, in constant memory."""
        for piece in windows.pieces(windows.n_samples(self.settings, source), self.grid.hop, self.window, self.margin):
            yield self._encode([source], [piece])[0]

    def batch(self, waves: Sequence[Any]) -> list[Tensor]:
        """Many recordings at once, in their order; the numbers are those of single calls.

        Pieces of similar length go together: at most `limit` samples a call, at most a tenth of them padding.
        """
        import torch

        sizes = [windows.n_samples(self.settings, wave) for wave in waves]
        out = [torch.empty(self.grid.frames(n), self.settings.dim) for n in sizes]
        work = [(i, p) for i, n in enumerate(sizes) for p in windows.pieces(n, self.grid.hop, self.window, self.margin)]
        for group in self._groups(sorted(work, key=lambda w: w[1].stop - w[1].start, reverse=True)):
            blocks = self._encode([waves[i] for i, _ in group], [piece for _, piece in group])
            for (i, piece), block in zip(group, blocks, strict=True):
                out[i][piece.first : piece.last] = block
        return out

    def _groups(self, work: list[tuple[int, Piece]]) -> Iterator[list[tuple[int, Piece]]]:
        """Cuts work, longest piece first, into batches that keep to `limit` and `MAX_WASTE`."""
        group: list[tuple[int, Piece]] = []
        longest = used = 0
        for item in work:
            size = item[1].stop - item[1].start
            padded = longest * (len(group) + 1)
            too_long = padded > self.limit or padded - used - size > self.MAX_WASTE * padded
            if group and (too_long or (not self.ragged and size != longest)):
                yield group
                group, used = [], 0
            if not group:
                longest = size
            group.append(item)
            used += size
        if group:
            yield group

    def _encode(self, sources: list[Any], pieces: list[Piece]) -> list[Tensor]:
        """Reads one piece of each source, encodes them together, and keeps the frames between the margins."""
        import torch

        waves = [torch.from_numpy(windows.read(self.settings, s, p)) for s, p in zip(sources, pieces, strict=True)]
        lengths = torch.tensor([len(w) for w in waves])
        with torch.inference_mode(), _exact_convolutions(self.device):
            padded = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True).to(self.device)
            frames = self.encode(padded, lengths.to(self.device)).float().cpu()
        expected = (len(waves), self.grid.frames(int(lengths.max())), self.settings.dim)
        if tuple(frames.shape) != expected:
            found = f"{tuple(frames.shape[1:])} frames x columns"
            raise InputError(
                f"feature {self.settings.kind}: {found} for {int(lengths.max())} samples, expected {expected[1:]} on "
                f"grid {self.grid}; the encoder or its weights do not belong to this feature"
            )
        out = []
        for row, piece in zip(frames, pieces, strict=True):
            at = piece.start // self.grid.hop
            block = row[piece.first - at : piece.last - at].clone()  # outside inference mode: usable in training
            if not bool(torch.isfinite(block).all()):
                where = windows.where(self.settings, piece)
                raise InputError(
                    f"feature {self.settings.kind}: frames are not finite at {where}; the weights are broken, or "
                    "overflow in 16 bits: set precision to float32"
                )
            out.append(block)
        return out


def _exact_convolutions(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Switches TF32 off in cuDNN, whose ten-bit mantissa would break `batch == single`; nothing on a CPU."""
    import torch

    if device.type != "cuda":
        return contextlib.nullcontext()
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
