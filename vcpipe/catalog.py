"""What exists: the kinds of corpus and feature, and the systems. A new one is its own file and one row here.

Rows are module names, resolved when asked for, so that reading a config imports nothing heavy.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from types import ModuleType

from vcpipe.errors import InputError

CORPORA = {
    "cmu_arctic": "vcpipe.corpora.cmu_arctic",
    "databaker": "vcpipe.corpora.databaker",
    "demo": "vcpipe.corpora.demo",
    "folder": "vcpipe.corpora.folder",
    "jvs": "vcpipe.corpora.jvs",
    "librispeech": "vcpipe.corpora.librispeech",
    "libritts": "vcpipe.corpora.libritts",
    "ljspeech": "vcpipe.corpora.ljspeech",
    "m4singer": "vcpipe.corpora.m4singer",
    "multisinger": "vcpipe.corpora.multisinger",
    "opencpop": "vcpipe.corpora.opencpop",
    "popcs": "vcpipe.corpora.popcs",
    "timit": "vcpipe.corpora.timit",
    "together": "vcpipe.corpora.together",
    "utau": "vcpipe.corpora.utau",
    "vctk": "vcpipe.corpora.vctk",
    "voxceleb1": "vcpipe.corpora.voxceleb1",
    "voxceleb2": "vcpipe.corpora.voxceleb2",
}

FEATURES = {
    "contentvec": "vcpipe.features.contentvec",
    "ecapa": "vcpipe.features.ecapa",
    "energy": "vcpipe.features.energy",
    "envelope": "vcpipe.features.envelope",
    "f0": "vcpipe.features.f0",
    "f0_agreement": "vcpipe.features.f0_agreement",
    "ge2e": "vcpipe.features.ge2e",
    "hubert": "vcpipe.features.hubert",
    "hubert_discrete": "vcpipe.features.hubert_discrete",
    "hubert_soft": "vcpipe.features.hubert_soft",
    "joined": "vcpipe.features.joined",
    "kmeans": "vcpipe.features.kmeans",
    "log_f0": "vcpipe.features.log_f0",
    "mel": "vcpipe.features.mel",
    "soft_units": "vcpipe.features.soft_units",
    "speaker_f0": "vcpipe.features.speaker_f0",
    "speaker_mean": "vcpipe.features.speaker_mean",
    "spectrogram": "vcpipe.features.spectrogram",
    "tiny_random": "vcpipe.features.tiny_random",
    "wavlm": "vcpipe.features.wavlm",
    "whisper": "vcpipe.features.whisper",
    "whisper_tiny_en": "vcpipe.features.whisper_tiny_en",
    "world_aperiodicity": "vcpipe.features.world_aperiodicity",
    "world_envelope": "vcpipe.features.world_envelope",
}


def corpus(kind: str, where: str) -> ModuleType:
    """The module of a kind of corpus; `where` is the config key to name in an error."""
    return _resolve(CORPORA, kind, where, "corpus")


def feature(kind: str, where: str) -> ModuleType:
    """The module of a kind of feature; `where` is the config key to name in an error."""
    return _resolve(FEATURES, kind, where, "feature")


def system_names() -> list[str]:
    """The systems: one folder of `vcpipe/systems` each, whose name is also its config key and `.smk` file."""
    package = importlib.import_module("vcpipe.systems")
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if m.ispkg)


def system_config(name: str) -> ModuleType:
    """The torch-free `config` module of a system: its `Settings` and the slices of its stages."""
    return importlib.import_module(f"vcpipe.systems.{name}.config")


def system_cli(name: str) -> ModuleType:
    """The command line of a system: `app`, whose commands stand under `vcpipe <name>`."""
    return importlib.import_module(f"vcpipe.systems.{name}.cli")


def nearest(name: str, known: list[str]) -> str:
    """`; did you mean 'x'?` where a known name is close, else a list of what is known."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(sorted(known))}"


def _resolve(table: dict[str, str], kind: str, where: str, noun: str) -> ModuleType:
    if kind not in table:
        raise InputError(f"{where}: no kind of {noun} is called '{kind}'; {nearest(kind, list(table))}")
    return importlib.import_module(table[kind])
