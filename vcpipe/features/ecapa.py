"""Speaker vectors by ECAPA-TDNN: one row of 192 numbers for an utterance; an extra that needs speechbrain's package.

Source: Desplanques et al., "ECAPA-TDNN" (2020); the public weights are speechbrain's `spkrec-ecapa-voxceleb`. Of a
folder with those only the network's tensors are read: its YAML, which can name any code to run, is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat

from vcpipe import weights
from vcpipe.errors import InputError
from vcpipe.features import windows
from vcpipe.features.windows import Piece
from vcpipe.grid import Grid
from vcpipe.settings import FeatureSettings

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FILE = "embedding_model.ckpt"
N_MELS, DIM = 80, 192
ARCHITECTURE: dict[str, Any] = {
    "channels": [1024, 1024, 1024, 1024, 3072],
    "kernel_sizes": [5, 3, 3, 3, 1],
    "dilations": [1, 2, 3, 4, 1],
    "attention_channels": 128,
}


class Settings(FeatureSettings):
    """Where the weights are, and how much of a long utterance is embedded at once."""

    REVISION: ClassVar[int] = 1
    ROWS: ClassVar[Literal["frame", "utterance", "speaker"]] = "utterance"

    kind: Literal["ecapa"] = "ecapa"
    dtype: Literal["float16", "float32"] = "float32"
    weights: str = Field("weights/spkrec-ecapa-voxceleb", description=f"a folder with {FILE}")
    sha256: str = Field("", description=f"of {FILE}; checked when given")
    window_s: PositiveFloat = Field(60.0, ge=1, description="longer utterances are the mean of equal parts of at most")

    @property
    def grid(self) -> Grid:
        """The rate that it reads, and the hop of its mel; it has one row, whatever the length."""
        return Grid(16000, 160)

    @property
    def dim(self) -> int:
        """Of a speaker vector."""
        return DIM


def load(settings: Settings, device: torch.device) -> Embedder:
    """The network behind the settings, with its weights.

    Raises:
        InputError: when speechbrain is not installed, or the folder has no weights of this network.
    """
    return Embedder(settings, device)


class Embedder:
    """`(N,)` samples at 16 kHz become `(1, 192)` of length 1; it answers as `vcpipe.features.ge2e.Embedder` does."""

    def __init__(self, settings: Settings, device: torch.device):
        try:
            from speechbrain.lobes.features import Fbank
            from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN
        except ImportError as error:
            raise InputError(
                f"feature ecapa: expected the package speechbrain, found none that works ({error}); type "
                "`pip install speechbrain`, or use the feature ge2e"
            ) from None
        self.settings, self.grid, self.device = settings, settings.grid, device
        self.filters = Fbank(n_mels=N_MELS).to(device)
        self.network = ECAPA_TDNN(N_MELS, lin_neurons=DIM, **ARCHITECTURE)
        path = weights.find(str(Path(settings.weights) / FILE), settings.sha256)
        try:
            self.network.load_state_dict(weights.read_pickle_checkpoint(path))
        except RuntimeError as error:
            first = str(error).strip().split("\n")[-1].strip()[:160]
            raise InputError(
                f"{path}: not the weights of spkrec-ecapa-voxceleb ({first}); download that model's {FILE}"
            ) from None
        self.network.eval().requires_grad_(False).to(device)

    def __call__(self, wave: Any) -> Tensor:
        """One recording `(N,)` in [-1, 1] to `(1, 192)` float32 on the CPU.

        Raises:
            InputError: for a recording that is not one-dimensional, shorter than 10 ms, or not finite.
        """
        import torch

        n = windows.n_samples(self.settings, wave)
        n_parts = -(-n // round(self.settings.window_s * self.grid.rate))
        edges = [n * i // n_parts for i in range(n_parts + 1)]
        with torch.inference_mode():
            parts = [self._part(wave, *edges[i : i + 2]) for i in range(n_parts)]
            row = torch.nn.functional.normalize(torch.stack(parts).mean(0), dim=0)[None]
        return row.clone()  # outside inference mode: usable in training

    def stream(self, source: Any) -> Iterator[Tensor]:
        """The same row as `__call__`, as the one block there is."""
        yield self(source)

    def batch(self, waves: Sequence[Any]) -> list[Tensor]:
        """Many recordings, one after the other: the network's statistics are over a whole recording."""
        return [self(wave) for wave in waves]

    def _part(self, wave: Any, start: int, stop: int) -> Tensor:
        """The vector `(192,)`, of length 1, of the samples `[start, stop)`."""
        import torch

        samples = torch.from_numpy(windows.read(self.settings, wave, Piece(start, stop, 0, 0)))
        mel = self.filters(samples[None].to(self.device))
        mel = mel - mel.mean(dim=1, keepdim=True)
        vector: Tensor = self.network(mel).reshape(DIM).float().cpu()
        return torch.nn.functional.normalize(vector, dim=0)
