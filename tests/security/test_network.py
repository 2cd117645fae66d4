"""The ways into the network: one door, by https and with a checksum; everything else works without."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vcpipe import weights
from vcpipe.corpora.archives import SOURCES
from vcpipe.errors import InputError
from vcpipe.fetch import fetch

ROOT = Path(__file__).resolve().parents[2]
OFFLINE = """
import sys
REACHED = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
PROGRAMS = ("subprocess.Popen", "os.system", "os.posix_spawn", "os.exec")
found = []
def watch(event, arguments):
    if event in REACHED or (event in PROGRAMS and any(p in str(arguments) for p in ("curl", "wget", "git'", "pip"))):
        found.append(f"{event} {arguments}")
        raise OSError("no network")
sys.addaudithook(watch)
import numpy, torch
wave = (numpy.random.default_rng(0).standard_normal(32000) * 0.1).astype("float32")
"""
DEFAULTS = {
    "recogniser": "from vcpipe.evaluation.asr import load_asr; load_asr('whisper_tiny_en')(wave)",
    "verifier": "from vcpipe.evaluation.speaker import load_verifier; load_verifier('ge2e')(wave)",
    "speech detection": "from vcpipe.vad import silero_spans; silero_spans(wave)",
    "pitch by swift": "from vcpipe.f0 import swift; swift.track(wave, 16000)",
    "pitch by crepe": "from vcpipe.f0 import crepe; crepe.track(wave, 16000, model='tiny')",
    "units by whisper tiny.en": "from vcpipe.nn.whisper_weights import load_tiny_en; load_tiny_en()",
}
"""What runs with weights that came with an installed package."""


def test_what_needs_no_download_does_not_try_one() -> None:
    """In one process, where any look at the network is noted and refused."""
    script = OFFLINE + "\n".join(DEFAULTS.values()) + "\nprint(*found, sep='\\n')\n"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-1500:]
    assert done.stdout.strip() == ""


def test_the_watch_sees_a_download(tmp_path: Path) -> None:
    """Else the test above could not fail."""
    script = f"""{OFFLINE}
import contextlib, subprocess
from pathlib import Path
from vcpipe.errors import InputError
from vcpipe.fetch import fetch
with contextlib.suppress(InputError):
    fetch("https://example.invalid/a", Path({str(tmp_path / "a")!r}), attempts=1)
with contextlib.suppress(OSError):
    subprocess.run(["curl", "https://example.invalid"])
print(*found, sep="\\n")
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "socket.getaddrinfo" in done.stdout and "curl" in done.stdout, done.stdout + done.stderr[-800:]


@pytest.mark.parametrize("name", sorted(name for name, known in weights.KNOWN.items() if not known.sha256))
def test_known_weights_without_a_checksum_are_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(InputError, match="nothing is fetched unchecked"):
        weights.find(name)
    assert list(tmp_path.iterdir()) == []


def test_every_address_is_https() -> None:
    addresses = [known.url for known in weights.KNOWN.values()]
    addresses += [archive.url for source in SOURCES.values() for archive in source.archives.values()]
    assert len(addresses) > 20
    assert [url for url in addresses if not url.startswith("https://")] == []


@pytest.mark.parametrize("scheme", ["http", "ftp", "file", "data", "HTTP", "gopher", "jar"])
def test_no_other_scheme_is_opened(scheme: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="https only"):
        fetch(f"{scheme}://example.invalid/a.pt", tmp_path / "a.pt", "0" * 64)
