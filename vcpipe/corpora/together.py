"""Several corpora seen as one, so that the recordings of one are converted to the voices of another.

The parts lie below one `root`. Utterances, speakers, texts, groups, sexes, splits and words are those that each part
answers by itself; paths are made relative to the common `root`. Nothing is renamed: parts with an utterance or a
speaker of the same name are refused. Licences are those of the parts.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePath
from types import ModuleType
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_serializer, model_validator

from vcpipe import catalog
from vcpipe.corpora.alignments import Word
from vcpipe.errors import InputError
from vcpipe.manifest import Candidate
from vcpipe.settings import CorpusSettings, Slice, canonical

OF_THE_WHOLE = CorpusSettings.NOT_CONTENT - {"root"}
"""Keys that a part cannot have: what they decide is decided for all parts at once."""
PATHS = ("root", "alignments")
"""Keys of a part that are folders below the common `root`."""


def _part(values: object) -> CorpusSettings:
    """The settings of a part, by the class of its kind."""
    if isinstance(values, CorpusSettings):
        return values
    if not isinstance(values, Mapping) or "kind" not in values:
        raise ValueError("expected a mapping with a `kind`")
    kind = str(values["kind"])
    if kind not in catalog.CORPORA:
        raise ValueError(f"no kind of corpus is called '{kind}'; {catalog.nearest(kind, list(catalog.CORPORA))}")
    module = catalog.corpus(kind, "kind")
    if kind == "together":
        raise ValueError("expected a corpus of its own; name the parts of the other one here")
    if hasattr(module, "make"):
        raise ValueError(f"recordings of kind {kind} are made, not found below `root`; name a part that is there")
    known = [key for key in module.Settings.model_fields if key not in OF_THE_WHOLE]
    for key in values:
        if key in OF_THE_WHOLE:
            raise ValueError(f"`{key}` is of all parts together; set it beside `parts`")
        if key not in known:
            raise ValueError(f"kind {kind} has no key '{key}'; {catalog.nearest(str(key), known)}")
    settings: CorpusSettings = module.Settings.model_validate(dict(values))
    return settings


class Settings(CorpusSettings):
    """`corpora.<name>` with `kind: together`."""

    REVISION: ClassVar[int] = 1

    kind: Literal["together"]
    root: str
    parts: dict[str, Annotated[CorpusSettings, BeforeValidator(_part)]] = Field(
        min_length=1, description="corpora by names of your own, each with its kind and its root, a folder below `root`"
    )

    @model_validator(mode="after")
    def _parts_are_below_root(self) -> Settings:
        for name, part in self.parts.items():
            for key in PATHS:
                found = getattr(part, key, "")
                if os.path.relpath(os.path.join(self.root, found), self.root).split(os.sep)[0] == os.pardir:
                    raise ValueError(
                        f"parts.{name}.{key}: expected a folder below {self.root}, found {found}; set `root` to a "
                        "folder that holds all parts"
                    )
        return self

    @field_serializer("parts")
    def _as_given(self, parts: dict[str, CorpusSettings]) -> dict[str, Any]:
        return {name: part.model_dump(mode="json", exclude=OF_THE_WHOLE) for name, part in parts.items()}

    def content(self) -> Slice:
        """What decides the recordings of each part; neither where they lie, nor the names or the order of the parts."""
        parts = sorted((part.content() for part in self.parts.values()), key=canonical)
        return {"kind": self.kind, "parts": parts, "revision": self.REVISION}


def scan(settings: Settings, root: Path) -> list[Candidate]:
    """Lists part after part.

    Raises:
        InputError: when a part has no recordings, or two have an utterance or a speaker of the same name.
    """
    out: list[Candidate] = []
    whose: dict[tuple[str, str], str] = {}
    for name, part, module in _placed(settings, root):
        found = module.scan(part, Path(part.root))
        if not found:
            raise InputError(f"parts.{name}: no recordings found in {part.root}; set its `root` to where they lie")
        names = {("utterance", c.utt_id) for c in found} | {("speaker", c.speaker) for c in found}
        if both := sorted(names & whose.keys()):
            what, which = both[0]
            raise InputError(
                f"parts.{whose[both[0]]} and parts.{name}: both have the {what} '{which}' ({len(both)} such names); "
                "take subsets that share nobody, rename the folders of one, or leave one part out"
            )
        whose |= dict.fromkeys(names, name)
        folder = PurePath(os.path.relpath(part.root, root))
        out += [replace(c, path=(folder / c.path).as_posix()) for c in found]
    return out


def alignments(settings: Settings, root: Path, utt_ids: Collection[str]) -> Iterator[tuple[str, list[Word]]]:
    """The words of those of the utterances that have any in their part."""
    for _, part, module in _placed(settings, root):
        if hasattr(module, "alignments"):
            yield from module.alignments(part, Path(part.root), utt_ids)


def sexes(settings: Settings) -> dict[str, str]:
    """F or M of the speakers of each part that says it; a part's table says nothing of the speakers of another."""
    out: dict[str, str] = {}
    for _, part, module in _placed(settings, Path(settings.root)):
        if hasattr(module, "sexes"):
            speakers = {c.speaker for c in module.scan(part, Path(part.root))}
            out |= {speaker: sex for speaker, sex in module.sexes(part).items() if speaker in speakers}
    return out


def _placed(settings: Settings, root: Path) -> Iterator[tuple[str, Any, ModuleType]]:
    """The parts as if each stood alone: with whole paths, and the module of its kind."""
    for name, part in settings.parts.items():
        given = {key: value for key in PATHS if (value := getattr(part, key, ""))}
        whole = {key: os.path.join(root, value) for key, value in given.items()}
        yield name, part.model_copy(update=whole), catalog.corpus(part.kind, f"parts.{name}.kind")
