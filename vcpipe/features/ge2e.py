"""Speaker vectors by the public GE2E encoder: a row of 256 numbers for an utterance; the weights come in a package."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from vcpipe.features import windows
from vcpipe.features.windows import Piece
from vcpipe.grid import Grid
from vcpipe.settings import FeatureSettings

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from vcpipe.nn.ge2e import SpeakerEncoder

BLOCK_S = 60
"""Seconds that are read at once. It decides memory, not numbers."""


class Settings(FeatureSettings):
    """Which stretches of an utterance are embedded, after which preparation.

    The defaults are those of the package `resemblyzer`; SV2TTS has `rate_per_s: 1.25`, half a stretch of overlap. Both
    level an utterance and then cut its silences out, the inner ones too: what is to go is the preparation's business
    here, but for `trim`, which is after the level too.
    """

    REVISION: ClassVar[int] = 1
    ROWS: ClassVar[Literal["frame", "utterance", "speaker"]] = "utterance"

    kind: Literal["ge2e"] = "ge2e"
    dtype: Literal["float16", "float32"] = "float32"
    rate_per_s: float = Field(1.3, ge=0.625, le=100, description="stretches of 1.6 s that begin per second")
    min_coverage: float = Field(0.75, gt=0, le=1, description="the last stretch is left out with less of it inside")
    level_dbfs: float | None = Field(-30.0, le=0, description="quieter utterances are raised to this RMS; empty: none")
    trim: Literal["none", "ends"] = Field("none", description="ends: embed from the first speech to the last")

    @property
    def grid(self) -> Grid:
        """The rate that it reads, and the hop of its mel; it has one row, whatever the length."""
        return Grid(16000, 160)

    @property
    def dim(self) -> int:
        """Of a speaker vector."""
        return 256


def load(settings: Settings, device: torch.device) -> Embedder:
    """The encoder behind the settings, with its weights.

    Raises:
        InputError: when the package with the weights is not installed, or carries others.
    """
    return Embedder(settings, device)


class Embedder:
    """`(N,)` samples at 16 kHz become `(1, 256)`: the mean of the stretches' vectors, of length 1, none negative.

    It answers as `vcpipe.features.base.Extractor` does, with a row an utterance in place of a row a frame: the same
    numbers in a batch as alone, in memory that does not grow with the recording (but with `trim: ends`).
    """

    def __init__(self, settings: Settings, device: torch.device):
        from vcpipe.nn.ge2e import load_ge2e

        self.settings, self.grid, self.device = settings, settings.grid, device
        self.encoder: SpeakerEncoder = load_ge2e(device)

    def __call__(self, wave: Any) -> Tensor:
        """One recording `(N,)` in [-1, 1] to `(1, 256)` float32 on the CPU.

        Raises:
            InputError: for a recording that is not one-dimensional, shorter than 10 ms, or not finite.
        """
        return self.batch([wave])[0]

    def stream(self, source: Any) -> Iterator[Tensor]:
        """The same row as `__call__`, as the one block there is."""
        yield self(source)

    def batch(self, waves: Sequence[Any]) -> list[Tensor]:
        """Many recordings at once, in their order: `MAX_BATCH` stretches, of whichever recording, go together."""
        import torch

        from vcpipe.nn.ge2e import MAX_BATCH, mean_embedding

        counts, found = [], []
        waiting: list[Tensor] = []
        with torch.inference_mode():
            for wave in waves:
                counts.append(0)
                for mel in self._stretches(wave):
                    waiting.append(mel)
                    counts[-1] += 1
                    if len(waiting) == MAX_BATCH:
                        found.append(self.encoder(torch.stack(waiting)))
                        waiting = []
            if waiting:
                found.append(self.encoder(torch.stack(waiting)))
            split = torch.cat(found).split(counts) if found else ()
            rows = [mean_embedding(vectors)[None].cpu() for vectors in split]
        return [row.clone() for row in rows]  # outside inference mode: usable in training

    def _stretches(self, source: Any) -> Iterator[Tensor]:
        """The mels `(160, 40)` of a recording's stretches, read in blocks of `BLOCK_S`."""
        from vcpipe.nn.ge2e import HOP, PARTIAL, WINDOW, inner_power_mel, partial_starts

        first, last = self._bounds(source)
        gain = self._gain(source)
        starts = partial_starts(last - first, self.settings.rate_per_s, self.settings.min_coverage)
        per_block = max(1, round(BLOCK_S * self.settings.rate_per_s))
        for at in range(0, len(starts), per_block):
            group = starts[at : at + per_block]
            # mel frame k hears the samples 160 k - 200 to 160 k + 200, zeros beyond the ends
            begin, end = group[0] * HOP - WINDOW // 2, (group[-1] + PARTIAL - 1) * HOP + WINDOW // 2
            wave = self._read(source, first, last, begin, end) * gain
            mel = inner_power_mel(wave.to(self.device))
            yield from (mel[start - group[0] : start - group[0] + PARTIAL] for start in group)

    def _read(self, source: Any, first: int, last: int, begin: int, end: int) -> Tensor:
        """Samples `[begin, end)` counted from `first`, zero outside `[first, last)`."""
        import torch

        inside = Piece(max(first, first + begin), min(last, first + end), 0, 0)
        wave = torch.from_numpy(windows.read(self.settings, source, inside))
        before = inside.start - (first + begin)
        return torch.nn.functional.pad(wave, (before, end - begin - before - len(wave)))

    def _bounds(self, source: Any) -> tuple[int, int]:
        n = windows.n_samples(self.settings, source)
        if self.settings.trim == "none":
            return 0, n
        from vcpipe.vad import speech_bounds

        return speech_bounds(windows.read(self.settings, source, Piece(0, n, 0, 0)), self.grid.rate)

    def _gain(self, source: Any) -> float:
        """What raises the whole recording to `level_dbfs`; 1 for a louder or a silent one."""
        import numpy as np

        if self.settings.level_dbfs is None:
            return 1.0
        n, block = windows.n_samples(self.settings, source), BLOCK_S * self.grid.rate
        power = 0.0
        for at in range(0, n, block):
            samples = windows.read(self.settings, source, Piece(at, min(n, at + block), 0, 0))
            power += float(np.square(samples, dtype=np.float64).sum())
        rms, target = (power / n) ** 0.5, 10 ** (self.settings.level_dbfs / 20)
        return target / rms if 0 < rms < target else 1.0
