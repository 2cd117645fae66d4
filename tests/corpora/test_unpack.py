import bz2
import gzip
import io
import os
import random
import shutil
import stat
import tarfile
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest

from tests.corpora.hostile import HOSTILE, ONE, STORED
from tests.corpora.tars import entry, good_tar, good_zip, header, tar
from vcpipe.corpora.unpack import Limits, unpack
from vcpipe.errors import InputError

FILES = {
    "LibriSpeech/": b"",
    "LibriSpeech/README.TXT": b"read me",
    "LibriSpeech/dev-clean/84/121123/84-121123-0000.flac": bytes(range(256)) * 7,
    "LibriSpeech/dev-clean/84/121123/84-121123.trans.txt": "84-121123-0000 GO ON é\n".encode(),
    "LibriSpeech/dev-clean/84/121123/empty": b"",
    "LibriSpeech/dev-clean/1272/" + "かな" * 20 + "/" + "n" * 120 + ".flac": b"long names",
}


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


EXPECTED = {name: data for name, data in FILES.items() if not name.endswith("/")}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "zip", "stored", "bz2zip", "gnu", "ustar"])
def test_a_good_archive_is_unpacked_whole(tmp_path: Path, mode: str) -> None:
    if mode in ("zip", "stored", "bz2zip"):
        method = {"zip": zipfile.ZIP_DEFLATED, "stored": zipfile.ZIP_STORED, "bz2zip": zipfile.ZIP_BZIP2}[mode]
        data = good_zip(FILES, method)
    elif mode in ("gnu", "ustar"):
        out = io.BytesIO()
        kinds = {"gnu": tarfile.GNU_FORMAT, "ustar": tarfile.USTAR_FORMAT}
        with tarfile.open(fileobj=out, mode="w", format=kinds[mode]) as archive:
            for name, body in FILES.items():
                info = tarfile.TarInfo(name.replace("かな" * 20, "kana" * 5).replace("n" * 120, "n" * 80))
                info.size, info.type = len(body), tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
                archive.addfile(info, io.BytesIO(body))
        data = out.getvalue()
    else:
        data = good_tar(FILES, mode)
    (tmp_path / "x.archive").write_bytes(data)
    assert unpack(tmp_path / "x.archive", tmp_path / "out") == ["LibriSpeech"]
    found = files_of(tmp_path / "out")
    if mode in ("gnu", "ustar"):
        assert len(found) == len(EXPECTED) and sorted(found.values()) == sorted(EXPECTED.values())
    else:
        assert found == EXPECTED
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["LibriSpeech"]


def test_a_tar_of_a_folder_as_dot_is_taken(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(good_tar({"./": b"", "./wavs/": b"", "./wavs/a.wav": b"1", "././b.wav": b"2"}))
    assert unpack(tmp_path / "x.tar", tmp_path / "out") == ["b.wav", "wavs"]
    assert files_of(tmp_path / "out") == {"wavs/a.wav": b"1", "b.wav": b"2"}


def test_what_is_written_has_plain_permissions(tmp_path: Path) -> None:
    os.umask(0o022)
    (tmp_path / "x.zip").write_bytes(good_zip({"run.sh": b"#!"}, mode=stat.S_IFREG | stat.S_ISUID | 0o777))
    unpack(tmp_path / "x.zip", tmp_path / "out")
    assert stat.S_IMODE((tmp_path / "out" / "run.sh").stat().st_mode) == 0o644


def test_a_second_part_is_added_to_the_first(tmp_path: Path) -> None:
    common = {"L/README": b"same", "L/SPEAKERS": b"all"}
    (tmp_path / "1.tar").write_bytes(good_tar({**common, "L/dev/a.flac": b"1"}))
    (tmp_path / "2.tar").write_bytes(good_tar({**common, "L/train/b.flac": b"2"}))
    assert unpack(tmp_path / "1.tar", tmp_path / "out") == ["L"]
    assert unpack(tmp_path / "2.tar", tmp_path / "out") == ["L/README", "L/SPEAKERS", "L/train"]
    assert unpack(tmp_path / "2.tar", tmp_path / "out")  # again, as after a kill
    assert files_of(tmp_path / "out") == {**common, "L/dev/a.flac": b"1", "L/train/b.flac": b"2"}


@pytest.mark.parametrize("there", ["other", "folder", "link", "link to folder"])
def test_nothing_is_written_over_and_nothing_moved_before_that_is_known(tmp_path: Path, there: str) -> None:
    (tmp_path / "x.tar").write_bytes(good_tar({"L/a/new": b"1", "L/b": b"2"}))
    place = tmp_path / "out" / "L" / "b"
    place.parent.mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "b").write_bytes(b"2")
    if there == "other":
        place.write_bytes(b"mine")
    elif there == "folder":
        place.mkdir()
    elif there == "link":
        place.symlink_to(elsewhere / "b")
    else:
        place.parent.rmdir()
        place.parent.symlink_to(elsewhere)
    with pytest.raises(InputError, match="expected nothing, or what x.tar holds under this name.*move it away"):
        unpack(tmp_path / "x.tar", tmp_path / "out")
    assert not (tmp_path / "out" / "L" / "a").exists()
    assert sorted(p.name for p in elsewhere.iterdir()) == ["b"]
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["L"]


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(good_tar({"a": b"1"}))
    stale = tmp_path / "out" / ".x.tar.unpacking"
    stale.mkdir(parents=True)
    (stale / "old").write_text("half")
    unpack(tmp_path / "x.tar", tmp_path / "out")
    assert files_of(tmp_path / "out") == {"a": b"1"}
    (tmp_path / "victim").mkdir()
    stale.symlink_to(tmp_path / "victim")
    unpack(tmp_path / "x.tar", tmp_path / "out")
    assert (tmp_path / "victim").is_dir() and files_of(tmp_path / "victim") == {}


@pytest.mark.parametrize("data", [pytest.param(data, id=what) for what, data in HOSTILE.items()])
def test_a_hostile_archive_leaves_nothing_anywhere(tmp_path: Path, data: bytes) -> None:
    inner = tmp_path / "deep" / "out"
    inner.mkdir(parents=True)
    (tmp_path / "x.archive").write_bytes(data)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=r"x\.archive: cannot be unpacked \(.+\); (fetch it again|make room)") as e:
        unpack(tmp_path / "x.archive", inner, Limits(members=1000, file_bytes=30 << 20, ratio=100))
    assert "\n" not in str(e.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_there_are_more_than_forty_hostile_archives() -> None:
    assert len(HOSTILE) > 120


def test_a_million_members_are_too_many(tmp_path: Path) -> None:
    head = header(b"same", kind=b"g")  # headers that name nothing count by their bytes
    (tmp_path / "x.tgz").write_bytes(gzip.compress(head * 50_000, 1))
    with pytest.raises(InputError, match="unpacks to more than"):
        unpack(tmp_path / "x.tgz", tmp_path / "out", Limits(ratio=50, total_bytes=10 << 20))
    assert Limits().members == 1_000_000
    (tmp_path / "y.tar").write_bytes(tar(*[header(b"f%d" % n) for n in range(30)]))
    with pytest.raises(InputError, match="more than 29 members"):
        unpack(tmp_path / "y.tar", tmp_path / "out", Limits(members=29))
    assert len(unpack(tmp_path / "y.tar", tmp_path / "out", Limits(members=30))) == 30


def test_the_members_of_a_zip_are_counted_before_its_table_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vcpipe.corpora.members.MAX_ENTRIES", 30)
    for n in (30, 31):
        (tmp_path / f"{n}.zip").write_bytes(good_zip({f"f{i}": b"" for i in range(n)}, zipfile.ZIP_STORED))
    assert len(unpack(tmp_path / "30.zip", tmp_path / "out")) == 30
    monkeypatch.delattr(zipfile, "ZipFile")
    with pytest.raises(InputError, match="more than 30 members"):
        unpack(tmp_path / "31.zip", tmp_path / "other")


def test_the_limits_are_exact(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(tar(entry(b"a", b"x" * 1000), entry(b"b", b"x" * 1000)))
    for limits, words in [
        (Limits(file_bytes=999), "'a' has 1000 bytes, more than 999"),
        (Limits(total_bytes=1999), "unpacks to more than 1999"),
    ]:
        with pytest.raises(InputError, match=words):
            unpack(tmp_path / "x.tar", tmp_path / "out", limits)
    assert unpack(tmp_path / "x.tar", tmp_path / "out", Limits(file_bytes=1000)) == ["a", "b"]


def test_a_full_disk_is_said_to_be_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.tar").write_bytes(ONE)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 1000))
    with pytest.raises(InputError, match="needs 1500 bytes on the disk, 1000 are free.*make room"):
        unpack(tmp_path / "x.tar", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_random_damage_is_refused_or_harmless(tmp_path: Path) -> None:
    """A thousand flips of bytes: either one line, or files that lie within the folder."""
    rng = random.Random(7)
    sources = [good_tar(EXPECTED), gzip.compress(good_tar(EXPECTED)), good_zip(EXPECTED), bz2.compress(ONE), STORED]
    refused = []
    for n in range(1000):
        data = bytearray(sources[n % len(sources)])
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        (tmp_path / "x").write_bytes(data)
        try:
            unpack(tmp_path / "x", tmp_path / "out")
        except InputError as error:
            refused.append(str(error))
            assert list((tmp_path / "out").iterdir()) == []
        shutil.rmtree(tmp_path / "out")
        assert sorted(p.name for p in tmp_path.iterdir()) == ["x"]
    assert len(refused) > 500
    assert not any("\n" in line for line in refused)
