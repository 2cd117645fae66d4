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
    if not _spreads(settings, streams):
        ignored.add("spread")
    return settings.model_dump(mode="json", include=set(ALWAYS | APPLIED[settings.method]) - ignored)


def _spreads(settings: ConvertSettings, streams: Container[str]) -> bool:
    """Whether there is anything whose spread could follow the target's: a spectrum, or a pitch that is heard."""
    return settings.match_spectrum or (settings.method != "world" and "pitch" in streams)


def check_applied(settings: ConvertSettings, own: Iterable[str], where: str, streams: Container[str]) -> None:
    """Refuses what is done to a voice (alpha, own_content, transpose, spectrum, spread) where it would be ignored.

    Args:
        own: the keys that were set for it alone; what it inherits is passed over.
        where: under which key they stand.
        streams: what the vocoder hears beside the frames.
    """
    for key in sorted((OF_A_VOICE | {"own_content"}).intersection(own)):
        value, usual = getattr(settings, key), type(settings).model_fields[key].default
        if value == usual:
            continue
        why = ""
        if key not in APPLIED[settings.method]:
            why = f"with method {settings.method}, which ignores it"
        elif key == "spread" and not _spreads(settings, streams):
            why = "without match_spectrum or a pitch, which it is of"
        if why:
            raise InputError(
                f"key '{where}.{key}': expected {_typed(usual)} {why}, found {_typed(value)}; remove the key, or "
                "change what it is set beside"
            )


def _typed(value: bool | float) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"
