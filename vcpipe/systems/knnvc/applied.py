"""Which keys of `knnvc.convert` a method goes by: a row records those, and is refused what it would ignore."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import TYPE_CHECKING

from vcpipe.errors import InputError
from vcpipe.settings import Slice

if TYPE_CHECKING:
    from vcpipe.systems.knnvc.config import ConvertSettings

ALWAYS = frozenset({"method", "loudness_lufs"})
OF_A_VOICE = frozenset({"alpha", "transpose", "match_spectrum", "spread"})
"""What is done to units on their way to another voice, whichever method makes them."""
OF_A_STREAM = {"transpose": "pitch", "own_content": "content"}
APPLIED = {
    "knn": OF_A_VOICE | {"topk", "weighting", "temperature", "smoothness", "candidates", "own_content"},
    "linear": OF_A_VOICE | {"ridge", "bias", "orthogonal"},
    "linear_factorised": OF_A_VOICE | {"ridge", "rank"},
    "mean": OF_A_VOICE | {"scale"},
    "world": frozenset({"match_spectrum", "spread", "scale"}),
    "none": frozenset[str](),
}
"""The keys beside `ALWAYS`, by method. `trim_references` is for recordings alone: a row reads frames from shards."""


def applied(settings: ConvertSettings, streams: Container[str]) -> Slice:
    """The settings that conversions go by, as JSON has them.

    Args:
        streams: what the vocoder hears beside the frames: without a pitch there is nothing to transpose, without
            content none to mix.
    """
    ignored = {key for key, stream in OF_A_STREAM.items() if stream not in streams}
    if "pitch" not in streams and not settings.match_spectrum:
        ignored.add("spread")
    return settings.model_dump(mode="json", include=set(ALWAYS | APPLIED[settings.method]) - ignored)


def check_applied(settings: ConvertSettings, own: Iterable[str], where: str) -> None:
    """Refuses an alpha, a transposition or a spectrum that the method would ignore.

    Args:
        own: the keys that were set for it alone; what it inherits is passed over.
        where: under which key they stand.
    """
    for key in sorted((OF_A_VOICE - APPLIED[settings.method]).intersection(own)):
        if value := getattr(settings, key):
            usual = type(settings).model_fields[key].default
            raise InputError(
                f"key '{where}.{key}': expected {_typed(usual)} with method {settings.method}, which ignores it, "
                f"found {_typed(value)}; remove the key, or choose another method"
            )


def _typed(value: bool | float) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"
