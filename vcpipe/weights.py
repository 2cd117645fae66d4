"""Weights on disk: found or fetched once, checked, and read without ever running what is inside them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import importlib.util
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from vcpipe import catalog
from vcpipe.errors import InputError
from vcpipe.manifest import atomic_path, publish

if TYPE_CHECKING:
    from torch import Tensor


class Known(NamedTuple):
    """Published weights. An empty `sha256` and a zero `size` (bytes) mean: not known to us, so not checked."""

    url: str
    sha256: str = ""
    size: int = 0


_KNN_VC = "https://github.com/bshall/knn-vc/releases/download/v0.1/"
KNOWN = {
    "WavLM-Large.pt": Known(
        _KNN_VC + "WavLM-Large.pt", "6fb4b3c3e6aa567f0a997b30855859cb81528ee8078802af439f7b2da0bf100f", 1261965425
    ),
    "prematch_g_02500000.pt": Known(
        _KNN_VC + "prematch_g_02500000.pt", "f924c7632c6eaf99004386d62293e124419e33582573552a6ae976eb88ed2dd5"
    ),
    "g_02500000.pt": Known(_KNN_VC + "g_02500000.pt"),
}
MAX_BYTES = 8 << 30
OLDEST_SAFE_TORCH = (2, 10)
"""Before it, a crafted checkpoint could do harm even under `weights_only`."""


def known_sha256(name: str) -> str:
    """The published digest of known weights; empty where there is none, and for a path."""
    return KNOWN[name].sha256 if name in KNOWN else ""


def find(name_or_path: str, sha256: str = "") -> Path:
    """The file behind a path or a known name, fetched into the cache when it is nowhere yet.

    A known name is looked for in `./weights`, then in `$XDG_CACHE_HOME/vcpipe` (`~/.cache/vcpipe`).

    Args:
        name_or_path: a file, or a name of `KNOWN`.
        sha256: of the file, checked whenever it is known or given.

    Raises:
        InputError: when there is no such file or name, the digest differs, or it cannot be fetched.
    """
    known = KNOWN.get(name_or_path, Known(""))
    sha256 = sha256.lower() or known.sha256
    places = [Path(name_or_path), *(folder / name_or_path for folder in _folders() if known.url)]
    for place in places:
        if place.is_file():
            found = _digest(place) if sha256 else ""
            if found != sha256:
                raise InputError(f"{place}: expected sha256 {sha256}, found {found}; delete it, or correct the digest")
            return place
    if not known.url:
        hint = catalog.nearest(name_or_path, list(KNOWN))
        raise InputError(f"weights '{name_or_path}': no such file, and no known name; {hint}")
    return fetch(known.url, places[-1], sha256, known.size)


def fetch(
    url: str, target: Path, sha256: str = "", size: int = 0, *, attempts: int = 4, backoff_s: float = 1.0
) -> Path:
    """Downloads a file, goes on where it broke off, and gives it its name only when it is whole and right.

    Args:
        url: https; plain http only from this computer.
        target: final name; the bytes gather in `<target>.part` beside it.
        sha256: checked when given.
        size: in bytes, checked when given.
        attempts: tries in a row that bring nothing new, before giving up.
        backoff_s: seconds before the second try; they double with each.

    Raises:
        InputError: one line that names the file, the address, the reason, and where to put the file by hand.
    """
    _check_scheme(url)
    part = target.with_name(target.name + ".part")
    with _locked(target):
        if target.is_file() and (not sha256 or _digest(target) == sha256):
            return target  # another process was faster
        if not sha256:
            part.unlink(missing_ok=True)  # nothing could tell whether it belongs to the same file
        try:
            for last in [False, True] if part.exists() else [True]:  # what was left behind may be of another file
                _receive_all(url, part, size, attempts, backoff_s)
                found = _digest(part) if sha256 else ""
                if found == sha256:
                    break
                part.unlink()
                if last:
                    raise _RefusedError(f"its sha256 is {found}, expected {sha256}")
        except (_RefusedError, OSError, http.client.HTTPException) as error:
            raise InputError(
                f"{target.name}: could not be fetched from {url} ({_reason(error)}); download it by hand and put it at "
                f"{target} or weights/{target.name}"
            ) from None
        publish(part, target)
    return target


class _RefusedError(Exception):
    """An answer that trying again will not change."""


def _receive_all(url: str, part: Path, size: int, attempts: int, backoff_s: float) -> None:
    best, failures = 0, 0
    while True:
        try:
            _receive(url, part, size)
            return
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code not in (408, 416, 429):
                raise
            have = part.stat().st_size if part.exists() else 0
            failures = failures + 1 if have <= best else 1
            best = max(best, have)
            if failures >= attempts:
                raise
            time.sleep(backoff_s * 2 ** (failures - 1))


def _receive(url: str, part: Path, size: int) -> None:
    """One request for what `part` lacks. A connection that ends early is an OSError, to be tried again."""
    have = part.stat().st_size if part.exists() else 0
    if size and have == size:
        return
    headers = {"User-Agent": "vcpipe", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        answer = _opener().open(urllib.request.Request(url, headers=headers), timeout=30)  # noqa: S310 (see _check_scheme)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            part.unlink(missing_ok=True)  # longer than the file, or not of it: begin again
        raise
    with answer:
        if answer.status == 206 and not _range_from(answer, have):
            part.unlink(missing_ok=True)
            raise OSError(f"asked for bytes from {have}, got {answer.headers.get('Content-Range')!r}")
        start = have if answer.status == 206 else 0
        declared = int(answer.headers.get("Content-Length") or 0)
        total = start + declared if declared else size
        if size and declared and total != size:
            raise _RefusedError(f"it has {total} bytes, expected {size}")
        if total > MAX_BYTES:
            raise _RefusedError(f"it has {total} bytes, more than the {MAX_BYTES} that are allowed")
        with open(part, "ab" if start else "wb") as f:
            got = _copy(answer, f, start, total or MAX_BYTES)
        if total and got < total:
            raise OSError(f"the connection ended at byte {got} of {total}")


def _copy(source: IO[bytes], sink: IO[bytes], got: int, most: int) -> int:
    while block := source.read(1 << 20):
        got += len(block)
        if got > most:
            raise _RefusedError(f"it is longer than {most} bytes")
        sink.write(block)
    return got


def _range_from(answer: Any, start: int) -> bool:
    return str(answer.headers.get("Content-Range", "")).startswith(f"bytes {start}-")


class _SecureRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirection only where the first address would have been allowed to lead."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _check_scheme(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_SecureRedirects)


def _check_scheme(url: str) -> None:
    parts = urllib.parse.urlsplit(url)
    local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost")
    if parts.scheme != "https" and not local:
        raise InputError(f"{url}: weights are fetched by https only; download the file by hand and give its path")


def _reason(error: Exception) -> str:
    reason = error.reason if type(error) is urllib.error.URLError else error
    return (str(reason) or type(reason).__name__).replace("\n", " ")


@contextlib.contextmanager
def _locked(target: Path) -> Iterator[None]:
    """One process at a time; the others wait and then find the file."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = open(target.with_name(f".{target.name}.lock"), "w")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise InputError(
            f"{target}: its folder cannot be written to ({error.strerror}); set XDG_CACHE_HOME to one that can, or put "
            f"the file at weights/{target.name} by hand"
        ) from None
    with lock as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def _folders() -> list[Path]:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return [Path("weights"), Path(cache) / "vcpipe"]


def _digest(path: Path) -> str:
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def read_pickle_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads a foreign PyTorch checkpoint onto the CPU: tensors and plain containers only, nothing is executed.

    Raises:
        InputError: for an old PyTorch, for a file that holds anything else, and for one that cannot be read.
    """
    import torch

    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if version < OLDEST_SAFE_TORCH:
        raise InputError(
            f"{path}: PyTorch {torch.__version__} may run code hidden in a checkpoint; pip install 'torch>=2.10'"
        )
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever goes wrong inside, the file is not used
        first = str(error).strip().split("\n")[0][:160]
        raise InputError(
            f"{path}: cannot be read as a checkpoint of tensors only ({first}); is it the right file?"
        ) from None
    if not isinstance(checkpoint, dict):
        raise InputError(f"{path}: expected a checkpoint that is a dictionary, found {type(checkpoint).__name__}")
    return checkpoint


def read_safetensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Reads what `write_safetensors` wrote: tensors on the CPU, and the metadata."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as f:
            return {key: f.get_tensor(key) for key in f.keys()}, dict(f.metadata() or {})  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be read as safetensors ({_reason(error)}); make it again") from None


def write_safetensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Writes tensors and metadata, whole or not at all. Shared storage is written once for each name."""
    from safetensors.torch import save_file

    copies = {key: tensor.detach().to("cpu", copy=True).contiguous() for key, tensor in tensors.items()}
    with atomic_path(path) as tmp:
        save_file(copies, tmp, dict(metadata))


def wheel_file(package: str, name: str, sha256: str) -> Path:
    """A data file inside an installed package, which is found but not imported.

    Raises:
        InputError: when the package or file is missing, or the file's SHA-256 is not the one expected.
    """
    install = f"type `pip install --force-reinstall {package.replace('_', '-')}`"
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise InputError(f"package {package}: expected its file {name}, found no such package; {install}")
    path = Path(next(iter(found.submodule_search_locations))) / name
    if not path.is_file():
        raise InputError(f"{path}: expected a file of the package {package}, found none; {install}")
    if (digest := _digest(path)) != sha256:
        raise InputError(f"{path}: expected the file with SHA-256 {sha256}, found {digest}; {install}")
    return path
