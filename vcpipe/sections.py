"""From config files to the sections of a config, each made of the mapping that YAML made of it.

Here an entry is held against its own schema; what the sections ask of one another is checked by `vcpipe.config.load`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from vcpipe import catalog
from vcpipe.audio_settings import AudioSettings
from vcpipe.errors import InputError
from vcpipe.settings import CorpusSettings, FeatureSettings, PackSettings, check


def read(paths: Sequence[Path]) -> dict[str, Any]:
    """The mapping of config files, each laid over those before it as `snakemake --configfile` does."""
    import yaml

    out: dict[str, Any] = {}
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path}: no such config file; give one with --config, or go to where config.yaml lies")
        try:
            found = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: not YAML ({' '.join(str(error).split())}); correct it") from None
        if not isinstance(found, dict):
            raise InputError(f"{path}: expected keys with values, found {type(found).__name__}; correct it")
        _lay_over(out, found)
    return out


def _lay_over(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    for key, value in above.items():
        if isinstance(value, Mapping):
            if not isinstance(below.get(key), dict):
                below[key] = {}  # a mapping of its own: with YAML aliases two keys may hold the same one
            _lay_over(below[key], value)
        else:
            below[key] = value


def one(raw: Mapping[str, Any], section: str, model: type[BaseModel]) -> Any:
    """A section that is one settings object; a key with nothing after it, or none, is its defaults."""
    return check(model, _given(raw, section), section)


def corpora(raw: Mapping[str, Any]) -> dict[str, CorpusSettings]:
    """The entries of `corpora:`; a corpus that is made, not found, lies under the results by its name."""
    found: dict[str, CorpusSettings] = _kinds(raw, "corpora", catalog.corpus)
    return {
        name: corpus if corpus.root else corpus.model_copy(update={"root": f"results/corpora/{name}/raw"})
        for name, corpus in found.items()
    }


def features(raw: Mapping[str, Any]) -> dict[str, FeatureSettings]:
    """The entries of `features:`."""
    return _kinds(raw, "features", catalog.feature)


def packs(raw: Mapping[str, Any]) -> dict[str, PackSettings]:
    """The entries of `packs:`."""
    return {
        name: check(PackSettings, values, f"packs.{check_name(name, f'packs.{name}')}")
        for name, values in _entries(raw, "packs")
    }


def copies(raw: Mapping[str, Any]) -> dict[str, AudioSettings]:
    """The named copies under `audio:`; where there is none, one at 16 kHz."""
    entries = raw.get("audio")
    if entries is None:
        entries = {"16k": {}}
    if not isinstance(entries, Mapping) or not entries:
        raise InputError(f"config key 'audio': expected named copies like `16k: {{rate: 16000}}`, found {entries!r}")
    if stray := [key for key in entries if key in AudioSettings.model_fields]:
        raise InputError(
            f"config key 'audio.{stray[0]}': settings belong to a named copy of the recordings; write "
            f"`audio: {{16k: {{{stray[0]}: {entries[stray[0]]}}}}}`"
        )
    out = {}
    for name in entries:
        check_name(name, f"audio.{name}")
        out[name] = check(AudioSettings, _given(entries, name), f"audio.{name}")
    return out


def check_name(name: object, where: str) -> str:
    """Refuses what cannot be the name of a folder; `where` is its config key."""
    if not isinstance(name, str):
        raise InputError(f"config key '{where}': expected a name, found the YAML value {name!r}; put it in quotes")
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise InputError(f"config key '{where}': a name has letters, digits, _, - and . only; it becomes a folder")
    return name


def _kinds(raw: Mapping[str, Any], section: str, resolve: Callable[[str, str], Any]) -> dict[str, Any]:
    """The entries of a section, each checked by the class of its `kind`."""
    out = {}
    for name, values in _entries(raw, section):
        where = f"{section}.{name}"
        check_name(name, where)
        if not isinstance(values, Mapping) or "kind" not in values:
            raise InputError(f"config key '{where}': expected a mapping with a `kind`, found {values!r}")
        out[name] = check(resolve(str(values["kind"]), f"{where}.kind").Settings, values, where)
    return out


def _entries(raw: Mapping[str, Any], section: str) -> Iterable[tuple[str, Any]]:
    entries = _given(raw, section)
    if not isinstance(entries, Mapping):
        raise InputError(f"config key '{section}': expected named entries, found {entries!r}")
    return entries.items()


def _given(raw: Mapping[str, Any], key: str) -> Any:
    """The value of a key; a key with nothing after it, or none, is an empty mapping."""
    value = raw.get(key)
    return {} if value is None else value
