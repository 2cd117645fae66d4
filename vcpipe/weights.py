"""Weights on disk: found or fetched once, checked, and read without ever running what is inside them."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vcpipe import catalog
from vcpipe.errors import InputError
from vcpipe.fetch import Advice, digest, reason
from vcpipe.fetch import fetch as _fetch
from vcpipe.manifest import atomic_path

if TYPE_CHECKING:
    from torch import Tensor


class Known(NamedTuple):
    """Published weights. Without a `sha256` they are not fetched, unless one is given; a zero `size` is not known."""

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
    "contentvec_legacy_500.pt": Known(
        "https://huggingface.co/lj1995/VoiceConversionWebUI/resolve/1c75048c96f23f99da4b12909b532b5983290d7d/"
        "hubert_base.pt",
        "f54b40fd2802423a5643779c4861af1e9ee9c1564dc9d32f54f20b5ffba7db96",
        189507909,
    ),
}
_TORCHAUDIO = "https://download.pytorch.org/torchaudio/models/"
KNOWN |= {
    name: Known(_TORCHAUDIO + name)
    for name in ("hubert_fairseq_base_ls960.pth", "hubert_fairseq_large_ll60k.pth", "hubert_fairseq_xlarge_ll60k.pth")
}
_SOFT_VC = "https://github.com/bshall/hubert/releases/download/"
KNOWN |= {
    name: Known(f"{_SOFT_VC}{release}/{name}")
    for name, release in {
        "hubert-soft-0d54a1f4.pt": "v0.1",
        "hubert-soft-35d9f29f.pt": "v0.2",
        "hubert-discrete-96b248c5.pt": "v0.2",
        "kmeans100-50f36a95.pt": "v0.2",
    }.items()
}
_WHISPER = "https://openaipublic.azureedge.net/main/whisper/models/"
KNOWN |= {
    f"whisper-{size}.pt": Known(f"{_WHISPER}{sha256}/{size}.pt", sha256)
    for size, sha256 in {
        "tiny.en": "d3dd57d32accea0b295c96e26691aa14d8822fac7d9d27d5dc00b4ca2826dd03",
        "tiny": "65147644a518d12f04e32d6f3b26facc3f8dd46e5390956a9424a650c0ce22b9",
        "base.en": "25a8566e1d0c1e2231d1c762132cd20e0f96a85d16145c3a00adf5d1ac670ead",
        "base": "ed3a0b6b1c0edf879ad9b11b1af5a0e6ab5db9205f891f668f8b0e6c6326e34e",
        "small.en": "f953ad0fd29cacd07d5a9eda5624af0f6bcf2258be67c92b79389873d91e0872",
        "small": "9ecf779972d90ba49c06d968637d720dd632c55bbf19d441fb42bf17a411e794",
        "medium.en": "d7440d1dc186f76616474e0ff0b3b6b879abc9d1a4926b7adfa41db2d497ab4f",
        "medium": "345ae4da62f9b3d59415adc60127b97c714f32e89e936602e85993674d08dcb1",
        "large-v1": "e4b87e7e0bf463eb8e6956e646f1e277e901512310def2c24bf0e11bd3c28e9a",
        "large-v2": "81f7c96c852ee8fc832187b0132e569d6c3065a3252ed18e56effd0b6a73e524",
        "large-v3": "e5b1a55b89c1367dacf97e3e19bfd829a01529dbfdeefa8caeb59b3f1b81dadb",
        "large-v3-turbo": "aff26ae408abcba5fbf8813c21e62b0941638c5f6eebfb145be0c9839262a19a",
    }.items()
}
MAX_BYTES = 8 << 30
MAX_HEADER = 1 << 24
"""Bytes of the header of a safetensors file; one of 100,000 tensors has 10 MB."""
MAX_RANK = 64
"""Dimensions of a tensor, of which PyTorch's kernels take no more."""
OLDEST_SAFE_TORCH = (2, 10)
"""Before it, a crafted checkpoint could do harm even under `weights_only`."""


def known_sha256(name: str) -> str:
    """The published digest of known weights; empty where there is none, and for a path."""
    return KNOWN[name].sha256 if name in KNOWN else ""


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, found once in a process while the file stays as it is."""
    about = path.stat()
    return _file_sha256(path.resolve(), about.st_size, about.st_mtime_ns)


@lru_cache
def _file_sha256(path: Path, size: int, mtime_ns: int) -> str:
    return digest(path, "")


def find(name_or_path: str, sha256: str = "") -> Path:
    """The file behind a path or a known name, fetched into the cache when it is nowhere yet.

    A known name is looked for in `./weights`, then in `$XDG_CACHE_HOME/vcpipe` (`~/.cache/vcpipe`).

    Args:
        name_or_path: a file, or a name of `KNOWN`.
        sha256: of the file, checked whenever it is known or given.

    Raises:
        InputError: when there is no such file or name, the digest differs, or it cannot be fetched; also when it would
            have to be fetched and no digest says what it must be.
    """
    known = KNOWN.get(name_or_path, Known(""))
    sha256 = sha256.lower() or known.sha256
    places = [Path(name_or_path), *(folder / name_or_path for folder in _folders() if known.url)]
    for place in places:
        if place.is_file():
            found = digest(place, sha256) if sha256 else ""
            if found != sha256:
                raise InputError(f"{place}: expected sha256 {sha256}, found {found}; delete it, or correct the digest")
            return place
    if not known.url:
        hint = catalog.nearest(name_or_path, list(KNOWN))
        raise InputError(f"weights '{name_or_path}': no such file, and no known name; {hint}")
    if not sha256:
        raise InputError(
            f"weights '{name_or_path}': no SHA-256 of {known.url} is known, and nothing is fetched unchecked; give the "
            f"digest as `sha256` where there is such a setting, or download it by hand to weights/{name_or_path}"
        )
    return fetch(known.url, places[-1], sha256, known.size)


def find_folder(name_or_path: str, files: Iterable[str], by_hand: str) -> Path:
    """The folder behind a path or a name, looked for as files are, but never fetched.

    Args:
        name_or_path: a folder, or its name below `./weights` or `$XDG_CACHE_HOME/vcpipe`.
        files: that must be in it.
        by_hand: what a person is told to do where there is none.

    Raises:
        InputError: when there is no such folder, or one of the files is not in it.
    """
    places = [Path(name_or_path), *(folder / name_or_path for folder in _folders())]
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        raise InputError(
            f"weights '{name_or_path}': expected a folder with {', '.join(files)}, found none; {by_hand} and put it at "
            f"{places[1]} or {places[-1]}"
        )
    if missing := [name for name in files if not (found / name).is_file()]:
        raise InputError(f"{found}: expected a file {missing[0]} in it, found none; {by_hand}")
    return found


def fetch(
    url: str, target: Path, sha256: str = "", size: int = 0, *, attempts: int = 4, backoff_s: float = 1.0
) -> Path:
    """`vcpipe.fetch.fetch` for weights: at most 8 GiB, with advice that names the places where they are looked for."""
    advice = Advice(
        by_hand=f"download it by hand and put it at {{target}} or weights/{target.name}",
        folder=f"set XDG_CACHE_HOME to one that can, or put the file at weights/{target.name} by hand",
    )
    return _fetch(url, target, sha256, size, most=MAX_BYTES, attempts=attempts, backoff_s=backoff_s, advice=advice)


def _folders() -> list[Path]:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return [Path("weights"), Path(cache) / "vcpipe"]


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
    """Reads a safetensors file: tensors on the CPU, and the metadata.

    Raises:
        InputError: naming the file, when it cannot be read, or its header says something else than its bytes.
    """
    from safetensors import SafetensorError, safe_open

    try:
        _check_header(path)
        with safe_open(path, framework="pt", device="cpu") as f:
            tensors = {key: f.get_tensor(key) for key in f.keys()}  # noqa: SIM118
            metadata = dict(f.metadata() or {})
        _check_flags(tensors)
    except (OSError, ValueError, RecursionError, MemoryError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be read as safetensors ({_short(error)}); make it again") from None
    return tensors, metadata


def _check_header(path: str | Path) -> None:
    """Refuses what the library takes: a name that comes twice (it keeps the last), and headers that cost minutes."""
    if not Path(path).is_file():
        raise ValueError("no such file")  # a pipe would be waited for
    with open(path, "rb") as f:
        size = os.fstat(f.fileno()).st_size
        length = int.from_bytes(f.read(8), "little")
        if size < 8 or length > size - 8:
            raise ValueError(f"its header claims {length} bytes, the file has {size}")
        if length > MAX_HEADER:
            raise ValueError(f"its header has {length} bytes, more than {MAX_HEADER}")
        header = json.loads(f.read(length).decode(), object_pairs_hook=_each_once, parse_constant=_no_number)
    if not isinstance(header, dict):
        raise ValueError("its header is not a JSON object")
    for name, entry in header.items():
        if not name.isprintable():
            raise ValueError(f"a tensor has the name {name!r}")
        if name != "__metadata__" and (not isinstance(entry, dict) or entry.keys() != _ENTRY):
            raise ValueError(f"'{name}' has not just a dtype, a shape and offsets")
        if name != "__metadata__" and isinstance(entry["shape"], list) and len(entry["shape"]) > MAX_RANK:
            raise ValueError(f"'{name}' has {len(entry['shape'])} dimensions, more than {MAX_RANK}")


_ENTRY = {"dtype", "shape", "data_offsets"}


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("a name in its header comes twice")
    return out


def _no_number(text: str) -> None:
    raise ValueError(f"its header has the number {text}")


def _check_flags(tensors: Mapping[str, Tensor]) -> None:
    """What a truth value other than 0 and 1 does is undefined."""
    import torch

    for name, tensor in tensors.items():
        if tensor.dtype is torch.bool and tensor.numel() and int(tensor.view(torch.uint8).max()) > 1:
            raise ValueError(f"'{name}' has truth values other than 0 and 1")


def _short(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]


def write_safetensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Writes tensors and metadata, whole or not at all; OSError where there is no room.

    Shared storage is written once for each name.
    """
    copies = {key: tensor.detach().to("cpu", copy=True).contiguous() for key, tensor in tensors.items()}
    with atomic_path(path) as tmp:
        save_tensors(copies, tmp, metadata)
        _sort_header(tmp)


def save_tensors(tensors: dict[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """As safetensors writes them, which names an error of the system in its text only: here it is an OSError."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(tensors, path, None if metadata is None else dict(metadata))
    except (SafetensorError, RuntimeError) as error:
        told = re.search(r"os error (\d+)", str(error))
        number = int(told[1]) if told else errno.EIO
        raise OSError(number, os.strerror(number) if told else reason(error), str(path)) from error


def _sort_header(path: Path) -> None:
    """Puts the header's metadata in order, which the library writes in any; so that equal content is equal bytes."""
    with open(path, "r+b") as f:
        size = int.from_bytes(f.read(8), "little")
        header = json.loads(f.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        assert len(text) <= size, f"{path}: a header of {len(text)} bytes in place of one of {size}"
        f.seek(8)
        f.write(text.ljust(size))


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
    if (found_sha256 := digest(path, sha256)) != sha256:
        raise InputError(f"{path}: expected the file with SHA-256 {sha256}, found {found_sha256}; {install}")
    return path
