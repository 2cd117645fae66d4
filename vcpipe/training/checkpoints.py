"""Checkpoints on disk: tensors and JSON, never pickle; one folder each, whole or absent, the previous one kept.

    latest                   the newest folder and the digest of its manifest; swapped by a rename
    step-000000001200/       state.json, <part>.safetensors ..., manifest.json
    step-000000001100/       the previous good one

One process at a time writes here: the caller holds a lock.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from vcpipe.errors import InputError
from vcpipe.fetch import reason
from vcpipe.manifest import atomic_path, publish
from vcpipe.training.sealed import DamagedError, Sum, digest, flushed, read, seal, unseal, write
from vcpipe.weights import save_tensors

log = logging.getLogger(__name__)

FORMAT = "vcpipe-checkpoint-1"
MANIFEST, NOTE, LATEST = "manifest.json", "state.json", "latest"
NAME = re.compile(r"step-(\d{12})")
WRITING, OLD, GONE = ".writing.", ".old.", ".gone."
"""Before the name of a folder: not yet complete; set aside for a newer one of the same step; to be deleted."""
ADVICE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "make the folder writable"),
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.ESTALE, errno.ENOTCONN), "see whether its disk is mounted"),
    errno.EFBIG: "raise the limit on the size of files (`ulimit -f unlimited`)",
}

Parts = Mapping[str, Mapping[str, Tensor] | Path]


@dataclass(frozen=True)
class Checkpoint:
    """One that was read whole and found good.

    Attributes:
        folder: where it lies, until two newer ones are saved.
        step: updates made when it was written.
        note: what `save` was given.
        parts: name -> tensors on the CPU by name.
    """

    folder: Path
    step: int
    note: dict[str, Any]
    parts: dict[str, dict[str, Tensor]]

    def tensors(self, part: str) -> dict[str, Tensor]:
        """Those of a part, as they were saved."""
        if part not in self.parts:
            found = ", ".join(self.parts) or "none"
            raise InputError(f"{self.folder}: expected a part '{part}', found {found}; which version wrote it?")
        return self.parts[part]

    def path(self, part: str) -> Path:
        """The file of a part, which `save` takes in place of its tensors."""
        return self.folder / f"{part}.safetensors"


def save(at: Path, step: int, note: dict[str, Any], parts: Parts, previous: Path | None = None) -> Path:
    """Writes a checkpoint, names it in `latest`, and deletes all but it and the previous good one.

    A process killed at any moment leaves either the old or the new one to `load`. A folder of the same step that is
    there already is replaced.

    Args:
        at: folder of the run's checkpoints; must be there, for one that is gone means a disk that is gone.
        step: updates made so far.
        note: JSON values, written as `state.json`.
        parts: written as `<name>.safetensors`; tensors, or the path of a part of an earlier checkpoint here, which is
            checked and copied: a link would share its damage.
        previous: the folder that `load` or `save` answered last, known to be good; without it, the older ones are
            read to find one that is.

    Returns:
        The folder of the checkpoint.

    Raises:
        InputError: when it cannot be written: names the path, the bytes that are needed and free, and how to go on.
    """
    final = at / f"step-{step:012d}"
    text = json.dumps(note)
    try:
        _save(final, step, text, parts, previous)
    except OSError as error:
        raise InputError(_failure(final, len(text) + _size(parts), error)) from error
    try:
        _prune(final, previous)
    except OSError as error:
        log.warning("%s: saved, but what was there before cannot be deleted (%s)", final, _words(error))
    return final


def _save(final: Path, step: int, note: str, parts: Parts, previous: Path | None) -> None:
    if previous is not None:
        os.stat(previous / MANIFEST)  # a folder of the same name below a disk that is gone is not the same folder
    _clear(final.parent, (WRITING, GONE))  # what a killed process left may be what fills the disk
    writing = final.with_name(WRITING + final.name)
    writing.mkdir()
    try:
        manifest = _write_all(writing, step, note, parts)
        _commit(writing, final, manifest)
    finally:
        shutil.rmtree(writing, ignore_errors=True)


def _write_all(folder: Path, step: int, note: str, parts: Parts) -> bytes:
    """Every file, flushed to the disk, the manifest last; answers the manifest."""
    write(folder / NOTE, note.encode())
    files = {NOTE: flushed(folder / NOTE)}
    for name, part in parts.items():
        assert re.fullmatch(r"[\w-]+", name), f"part '{name}': expected letters, digits, _ and -"
        path = folder / f"{name}.safetensors"
        if isinstance(part, Path):
            shutil.copyfile(part, path)
            files[path.name] = flushed(path)
            _check_source(part, files[path.name])
        else:
            _write_tensors(part, path)
            files[path.name] = flushed(path)
    sums = {name: file._asdict() for name, file in files.items()}
    manifest = seal({"format": FORMAT, "step": step, "files": sums})
    write(folder / MANIFEST, manifest)
    return manifest


def _write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copies only what lies on a device or shares its memory with another, which safetensors refuses."""
    plain: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        plain[name] = tensor.detach().to("cpu").contiguous()
        if (place := plain[name].untyped_storage().data_ptr()) in seen:
            plain[name] = plain[name].clone()
        seen.add(place)
    save_tensors(plain, path)


def _check_source(source: Path, found: Sum) -> None:
    """Damage that came since it was written must not be sealed as good."""
    try:
        expected = _sums(source.parent)[source.name]
    except (DamagedError, KeyError) as error:
        raise InputError(f"{source}: expected a part of a good checkpoint ({reason(error)}); give tensors") from None
    if expected != found:
        raise InputError(
            f"{source}: damaged (expected {expected}, found {found}); check the disk, and give the same command again "
            "to go on from the last good checkpoint"
        )


def _commit(writing: Path, final: Path, manifest: bytes) -> None:
    """Renames the folder, then swaps `latest`. A folder of the same step steps aside, where `load` would find it."""
    if os.path.lexists(final):
        _clear(final.parent, (OLD,))  # it has its successor, which a killed process could not say in `latest`
        os.rename(final, final.with_name(OLD + final.name))
    publish(writing, final)
    with atomic_path(final.with_name(LATEST)) as tmp:
        tmp.write_bytes(seal({"format": FORMAT, "folder": final.name, "manifest": digest(manifest)}))


def _prune(final: Path, previous: Path | None) -> None:
    """A folder is renamed before it is deleted, so that a half deleted one is not taken for a damaged one."""
    folders = _folders(final.parent)
    if previous is None or previous.name == final.name:
        previous = next((folder for folder in folders if folder.name < final.name and _is_good(folder)), final)
    _clear(final.parent, (WRITING, OLD, GONE))
    for folder in folders:
        if folder.name not in (final.name, previous.name):
            os.rename(folder, folder.with_name(GONE + folder.name))
    _clear(final.parent, (GONE,))


def _clear(at: Path, prefixes: tuple[str, ...]) -> None:
    for path in at.iterdir():
        if path.name.startswith(prefixes):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _failure(final: Path, needed: int, error: OSError) -> str:
    free, earlier = "", "the earlier checkpoints cannot be seen now"
    with contextlib.suppress(OSError):
        free = f", {shutil.disk_usage(final.parent).free} are free"
    with contextlib.suppress(OSError):
        _recover(final.parent)
        names = ", ".join(folder.name for folder in _folders(final.parent))
        earlier = f"the earlier checkpoints are intact ({names})" if names else "there is no earlier checkpoint"
    return (
        f"{final}: cannot be written ({_words(error)}); it needs up to {needed} bytes{free}; {earlier}; "
        f"{ADVICE.get(error.errno or 0, 'check the disk')}, and give the same command again to go on from the last one"
    )


def _words(error: OSError) -> str:
    return f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror or error)


def _size(parts: Parts) -> int:
    """In bytes, without headers."""
    total = 0
    for part in parts.values():
        if isinstance(part, Path):
            with contextlib.suppress(OSError):
                total += part.stat().st_size
        else:
            total += sum(tensor.numel() * tensor.element_size() for tensor in part.values())
    return total


def load(at: Path) -> Checkpoint | None:
    """The checkpoint that `latest` names, or the newest good one, with a warning for all that is damaged.

    Every byte is compared with the manifest; what is compared is what is used.

    Returns:
        None when there is no checkpoint at all.

    Raises:
        InputError: when there are some and none is good, when one is of another version, or cannot be read.
    """
    try:
        return _load(at)
    except OSError as error:
        raise InputError(
            f"{at}: the checkpoints cannot be read ({_words(error)}); check the disk, and that you may read and write "
            "there"
        ) from error


def _load(at: Path) -> Checkpoint | None:
    try:
        _recover(at)
        folders = _folders(at)
    except FileNotFoundError:
        return None
    damage = []
    try:
        named = _named(at)
        folders = [named, *(folder for folder in folders if folder != named)]
    except DamagedError as error:
        if os.path.lexists(at / LATEST) or len(folders) > 1:
            damage.append(str(error))
        elif not folders:
            return None  # else killed between the first folder and the first `latest`
    for folder in folders:
        try:
            checkpoint = _read(folder)
        except DamagedError as error:
            damage.append(str(error))
            continue
        for line in damage:
            log.warning("damaged: %s; the training goes on from step %d", line, checkpoint.step)
        return checkpoint
    raise InputError(f"{at}: no checkpoint is good: {'; '.join(damage)}; to start anew, type `rm -r {at}`")


def _folders(at: Path) -> list[Path]:
    """Those of all steps, the newest first."""
    return sorted((at / name for name in os.listdir(at) if NAME.fullmatch(name)), reverse=True)


def _recover(at: Path) -> None:
    """Gives a folder its name back whose successor never came."""
    for name in os.listdir(at):
        plain = name.removeprefix(OLD)
        if plain != name and NAME.fullmatch(plain) and not os.path.lexists(at / plain):
            os.rename(at / name, at / plain)


def _named(at: Path) -> Path:
    """The folder that `latest` names; whether it is good is another question."""
    latest = _record(at / LATEST)
    name = str(latest.get("folder"))
    if not NAME.fullmatch(name) or not (at / name).is_dir():
        raise DamagedError(f"{at / LATEST}: expected the name of a checkpoint here, found {name}")
    try:
        found = digest(seal(_record(at / name / MANIFEST)))
    except DamagedError:
        return at / name
    if latest.get("manifest") != found:
        raise DamagedError(f"{at / name}: {LATEST} expected the manifest {latest.get('manifest')}, found {found}")
    return at / name


def _read(folder: Path) -> Checkpoint:
    """One that is good."""
    note: dict[str, Any] = {}
    parts = {}
    for name, file in _sums(folder).items():
        try:
            if name == NOTE:
                note = dict(json.loads(read(folder / name, file)))
            else:
                parts[name.removesuffix(".safetensors")] = safetensors.torch.load(read(folder / name, file))
        except (DamagedError, OSError, MemoryError):
            raise
        except Exception as error:  # whatever goes wrong inside, the file is not used
            raise DamagedError(f"{folder / name}: expected {file}, found them, but {reason(error)[:200]}") from None
    return Checkpoint(folder, int(folder.name.removeprefix("step-")), note, parts)


def _is_good(folder: Path) -> bool:
    try:
        return all(read(folder / name, file) is not None for name, file in _sums(folder).items())
    except (DamagedError, InputError, OSError):
        return False


def _sums(folder: Path) -> dict[str, Sum]:
    """Of the files beside the manifest; refuses a folder that has others."""
    manifest = _record(folder / MANIFEST)
    try:
        files = {str(name): Sum(int(file["size"]), str(file["blake2b"])) for name, file in manifest["files"].items()}
        expected = f"step-{manifest['step']:012d}"
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DamagedError(f"{folder / MANIFEST}: expected a manifest, found none ({reason(error)})") from None
    if expected != folder.name:
        raise DamagedError(f"{folder / MANIFEST}: expected that of {folder.name}, found that of {expected}")
    found = set(os.listdir(folder))
    for name in sorted(found ^ {*files, NOTE, MANIFEST}):
        words = "expected no such file, found one" if name in found else "expected a file, found none"
        raise DamagedError(f"{folder / name}: {words}")
    return files


def _record(path: Path) -> dict[str, Any]:
    record = unseal(path)
    if record.get("format") != FORMAT:
        raise InputError(f"{path}: expected the format {FORMAT}, found {record.get('format')}; use the version of it")
    return record
