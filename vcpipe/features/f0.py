"""Fundamental frequency as a feature: `(T, 2)` of f0 in Hz (0 where unvoiced) and voiced (0 or 1)."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from vcpipe.errors import InputError
from vcpipe.f0.track import check_range
from vcpipe.features.signal import SignalExtractor
from vcpipe.grid import Grid
from vcpipe.settings import FeatureSettings

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

WINDOW_S, MARGIN_S = 60, 2
"""Seconds that are looked at at once, and on each side only for context: decoding sees about one sentence."""
Method = Literal["harvest", "dio", "praat", "pyin", "crepe", "swift", "rmvpe", "fcpe"]
METHODS = get_args(Method)
ON_TORCH = ("crepe", "fcpe")
MODEL = "full"


class Settings(FeatureSettings):
    """Which method listens for f0, where, and on which grid.

    `threshold` is the method's own measure of voicing: praat 0.45 (strength), crepe 0.21 (periodicity), swift 0.5,
    rmvpe 0.03 and fcpe 0.006 (confidence). Where it is left out, these are filled in, so that they stand in the slice.
    """

    REVISION: ClassVar[int] = 1

    kind: Literal["f0"] = "f0"
    dtype: Literal["float16", "float32"] = "float32"
    method: Method = "harvest"
    rate: PositiveInt = Field(16000, description="samples per second that it reads")
    hop: PositiveInt = Field(160, description="samples per frame")
    floor_hz: PositiveFloat = Field(50.0, description="lowest f0")
    ceil_hz: PositiveFloat = Field(1100.0, description="highest f0")
    model: Literal["full", "tiny"] | None = Field(
        None, description="crepe only: size; empty is full, which needs a GPU"
    )
    threshold: float | None = Field(None, ge=0, le=1, description="of voicing; empty is the method's own")

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: Any) -> Any:
        """The defaults of the method stand in the settings, because they decide numbers."""
        method = values.get("method", METHODS[0]) if isinstance(values, dict) else ""
        if method not in METHODS:
            return values  # refused by the field itself
        filled = dict(values)
        if filled.get("threshold") is None:
            filled["threshold"] = _method(str(method)).THRESHOLD
        if filled.get("model") is None:
            filled["model"] = MODEL if method == "crepe" else None
        return filled

    @model_validator(mode="after")
    def _agree(self) -> Settings:
        module = _method(self.method)
        if self.threshold is not None and module.THRESHOLD is None:
            raise ValueError(f"method {self.method} has no threshold; leave it out")
        if self.model is not None and self.method != "crepe":
            raise ValueError(f"method {self.method} has no model to choose, only crepe has; leave it out")
        try:
            check_range(self.method, module.LIMITS, self.rate, self.floor_hz, self.ceil_hz)
        except InputError as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def grid(self) -> Grid:
        """One frame a hop; its estimate is that at the centre of the hop."""
        return Grid(self.rate, self.hop)

    @property
    def dim(self) -> int:
        """F0 in Hz, and voiced."""
        return 2

    @property
    def torch(self) -> bool:
        """Whether the method needs torch, and gains from a graphics card."""
        return self.method in ON_TORCH


def load(settings: Settings, device: torch.device | None = None) -> SignalExtractor:
    """The extractor of a method's f0; `device` is used by the methods that need torch, and only by them."""
    return F0(settings, str(device or "cpu"))


class F0(SignalExtractor):
    """`(N,)` samples to `(N // hop, 2)`: a method's estimates, each at the centre of its frame."""

    settings: Settings

    def __init__(self, settings: Settings, device: str = "cpu"):
        hop, rate = settings.hop, settings.rate
        margin = -(-MARGIN_S * rate // hop) * hop
        super().__init__(settings, max(WINDOW_S * rate // hop * hop, 3 * margin), margin)
        self.method = _method(settings.method)
        keys = {"floor_hz", "ceil_hz", "model", "threshold"}
        self.arguments: dict[str, Any] = settings.model_dump(include=keys, exclude_none=True)
        if settings.torch:
            self.arguments["device"] = device

    def frames(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        """`(n,)` to `(n // hop, 2)`; silence is unvoiced."""
        from vcpipe.f0.grid import on_grid

        hop_s = self.settings.hop / self.settings.rate
        found = self.method.track(wave, self.settings.rate, frame_s=hop_s, **self.arguments)
        return on_grid(found, self.grid, len(wave))


def _method(name: str) -> ModuleType:
    return importlib.import_module(f"vcpipe.f0.{name}")
