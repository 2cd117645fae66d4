"""Downloads the corpora that anybody may have: fetched, checked, unpacked, and told where to ask for the others.

`archives.py` says what lies where. Whatever is interrupted goes on where it was: a download at its last byte, an
unpacking from its archive; what is finished is noted in `.<archive>.unpacked.json` and not done again.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from vcpipe.catalog import nearest
from vcpipe.corpora.archives import GATED, SOURCES, Archive, Source
from vcpipe.corpora.unpack import Limits, unpack
from vcpipe.errors import InputError
from vcpipe.fetch import Advice, check_address, fetch, hash_name, locked
from vcpipe.manifest import atomic_path

UNPACKED = 1.5
"""Bytes on the disk for each byte of an archive, at most: LJSpeech, whose bz2 is the tightest, has 1.4."""
log = logging.getLogger(__name__)


def download(
    kind: str,
    subsets: Sequence[str],
    folder: Path,
    *,
    archives: Mapping[str, Source] | None = None,
    sha256: str = "",
    keep: bool = False,
    limits: Limits = Limits(),  # noqa: B008 (a tuple cannot change)
    backoff_s: float = 1.0,
) -> Path:
    """Fetches and unpacks parts of a corpus.

    Args:
        kind: a key of `SOURCES`; for the corpora of `GATED` the error says where to ask.
        subsets: keys of the corpus's archives; may be empty where it has only one.
        folder: where everything is put.
        archives: a table in place of `SOURCES`.
        sha256: of the one archive that is asked for; needed where no checksum is known.
        keep: whether the archives stay in `folder` after they are unpacked.
        limits: what an archive may hold.
        backoff_s: seconds before a failed request is tried again.

    Returns:
        The folder to give as `root` of the corpus in config.yaml.

    Raises:
        InputError: for a corpus or subset that is not known or not free, an unknown checksum, too small a disk, and
            whatever goes wrong on the way; nothing unchecked is ever unpacked.
    """
    source = _source(kind, SOURCES if archives is None else archives)
    wanted = {subset: source.archives[subset] for subset in _chosen(kind, source, subsets)}
    wanted = {subset: _with_checksum(f"{kind} {subset}", a, sha256, len(wanted)) for subset, a in wanted.items()}
    for archive in wanted.values():
        check_address(archive.url)
    into = folder / source.into
    with locked(folder / f"{kind}.download", Advice(folder="give another folder with --to")):
        todo = {subset: a for subset, a in wanted.items() if not _is_unpacked(a, folder, into)}
        _check_space(folder, list(todo.values()), keep)
        log.info("%s: %s, %s", kind, source.licence, source.home)
        for subset, archive in todo.items():
            _fetch_and_unpack(f"{kind} {subset}", archive, folder, into, keep, limits, backoff_s)
    return folder / source.root


def _source(kind: str, sources: Mapping[str, Source]) -> Source:
    if kind in sources:
        return sources[kind]
    if kind in GATED:
        gated = GATED[kind]
        raise InputError(
            f"{gated.name} is not downloaded, its owners hand it out ({gated.licence}); ask for it at {gated.home}, "
            "unpack it, and set `root` of the corpus to its folder"
        )
    raise InputError(f"corpus '{kind}': cannot be downloaded; {nearest(kind, [*sources, *GATED])}")


def _chosen(kind: str, source: Source, subsets: Sequence[str]) -> list[str]:
    known = ", ".join(f"{k} ({_gigabytes(a.size)})" if a.size else k for k, a in source.archives.items())
    if not subsets:
        if len(source.archives) > 1:
            raise InputError(f"{kind}: expected at least one --subset, found none; give any of {known}")
        return list(source.archives)
    for subset in subsets:
        if subset not in source.archives:
            raise InputError(f"{kind}: '{subset}' is none of its subsets; give --subset with any of {known}")
    return list(dict.fromkeys(subsets))


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


def _with_checksum(what: str, archive: Archive, sha256: str, count: int) -> Archive:
    """The archive with the checksum that it will be held against."""
    if not sha256:
        if not archive.checksum:
            raise InputError(
                f"{what}: no checksum of {archive.url} is known, and nothing is unpacked unchecked; give --sha256 with "
                "the digest that its owners publish, or that you found yourself"
            )
        return archive
    given = sha256.strip().lower()
    if hash_name(given) != "sha256":
        raise InputError(f"--sha256: expected 64 hex digits, found '{sha256}'; correct it")
    if count > 1:
        raise InputError(f"--sha256: one digest, but {count} archives are asked for; give one --subset at a time")
    if hash_name(archive.checksum) == "sha256" and given != archive.checksum:
        raise InputError(
            f"--sha256: {given} is not the known digest {archive.checksum} of {what}; leave the option out"
        )
    return archive._replace(checksum=given)


def _check_space(folder: Path, todo: list[Archive], keep: bool) -> None:
    """Before anything is fetched: the archives that lie there at once, and what they unpack to."""
    missing = [max(0, a.size - _have(folder, a)) for a in todo]
    needed = (sum(missing) if keep else max(missing, default=0)) + int(UNPACKED * sum(a.size for a in todo))
    free = shutil.disk_usage(folder).free
    if needed > free:
        names = ", ".join(archive.name for archive in todo)
        raise InputError(
            f"{folder}: {needed} bytes ({_gigabytes(needed)}) are needed on the disk for {names} and what they unpack "
            f"to, {free} are free; give another folder with --to, or fewer subsets"
        )


def _have(folder: Path, archive: Archive) -> int:
    for path in (folder / archive.name, folder / f"{archive.name}.part"):
        if path.is_file():
            return path.stat().st_size
    return 0


def _fetch_and_unpack(
    what: str, archive: Archive, folder: Path, into: Path, keep: bool, limits: Limits, backoff_s: float
) -> None:
    log.info("%s: fetching %s%s", what, archive.url, f" ({_gigabytes(archive.size)})" if archive.size else "")
    path = fetch(archive.url, folder / archive.name, archive.checksum, archive.size, backoff_s=backoff_s)
    log.info("%s: unpacking %s into %s", what, path.name, into)
    _check_space(folder, [archive._replace(size=path.stat().st_size)], keep)
    paths = unpack(path, into, limits)
    os.sync()  # the note must not outlive what it tells of
    note = {"url": archive.url, "checksum": archive.checksum, "paths": paths}
    with atomic_path(_note(folder, archive)) as tmp:
        tmp.write_text(json.dumps(note, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if not keep:
        path.unlink()


def _note(folder: Path, archive: Archive) -> Path:
    return folder / f".{archive.name}.unpacked.json"


def _is_unpacked(archive: Archive, folder: Path, into: Path) -> bool:
    """Whether the note says so, of this very archive, and what it names is still there."""
    try:
        note = json.loads(_note(folder, archive).read_text(encoding="utf-8"))
        same = bool(note["checksum"] == archive.checksum)
        return same and bool(note["paths"]) and all((into / path).exists() for path in note["paths"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
