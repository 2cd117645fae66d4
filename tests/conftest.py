"""What the tests share: small recordings, small corpora, and the real data where there is some."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

RATE = 16000


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are no name of a test: workers that made them at different seconds would not agree on it."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with `corpora/` and `golden/`; the test is skipped where there is none."""
    folder = os.environ.get("VCPIPE_TEST_DATA", "")
    if not folder:
        pytest.skip("VCPIPE_TEST_DATA is not set")
    return Path(folder).resolve()


def tone(seconds: float, hz: float = 150.0, rate: int = RATE, seed: int = 0) -> NDArray[np.float32]:
    """`(N,)` float32: a buzz with some noise, loud enough for every check."""
    t = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(seed).normal(0, 0.01, len(t))
    return (0.3 * np.sign(np.sin(2 * np.pi * hz * t)) * np.sin(2 * np.pi * 2.5 * t) ** 2 + noise).astype(np.float32)


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a corpus of kind `folder`: `make_folder(speakers, utterances, seconds)`."""

    def make(speakers: int = 3, utterances: int = 4, seconds: float = 1.0, root: Path | None = None) -> Path:
        root = root or tmp_path / "corpus"
        for s in range(speakers):
            (root / f"spk{s}").mkdir(parents=True, exist_ok=True)
            for u in range(utterances):
                wave = tone(seconds + 0.1 * u, 100 + 40 * s + 5 * u, seed=100 * s + u)
                soundfile.write(root / f"spk{s}" / f"u{u}.wav", wave, RATE)
        return root

    return make


@pytest.fixture
def resemblyzer(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Any]]:
    """The published encoder, with stand-ins for what only its trimming needs."""
    for name in ("webrtcvad", "scipy.ndimage.morphology"):
        module = types.ModuleType(name)
        module.binary_dilation = None  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)
    before = set(sys.modules)
    yield pytest.importorskip("resemblyzer.voice_encoder"), pytest.importorskip("resemblyzer.audio")
    for name in set(sys.modules) - before:
        if name.startswith("resemblyzer"):
            del sys.modules[name]
