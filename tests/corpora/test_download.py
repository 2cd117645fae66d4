import gzip
import hashlib
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.corpora.tars import entry, good_tar, good_zip, header, tar
from tests.webserver import Handler, Server, serving
from vcpipe.corpora.archives import GATED, SOURCES, Archive, Source
from vcpipe.corpora.download import download
from vcpipe.corpora.unpack import Limits
from vcpipe.errors import InputError
from vcpipe.fetch import hash_name

DATA = gzip.compress(good_tar({"L/README": b"all", "L/dev/a.flac": bytes(range(256)) * 400}), 0, mtime=0)
MORE = gzip.compress(good_tar({"L/README": b"all", "L/train/b.flac": b"2"}), mtime=0)
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving("dev.tar.gz") as server:
        server.body = DATA
        yield server


def table(server: Server, checksum: str = SHA, size: int = 0, into: str = "", **more: Archive) -> dict[str, Source]:
    archives = {"dev": Archive(server.url, checksum, size), **more}
    return {"corpus": Source("https://example.org/", "CC BY 4.0", "L", archives, into)}


def get(server: Server, to: Path, subsets: tuple[str, ...] = ("dev",), **options: object) -> Path:
    given = {k: options.pop(k) for k in ("checksum", "size", "into") if k in options}
    return download("corpus", subsets, to, archives=table(server, **given), backoff_s=0.001, **options)  # type: ignore[arg-type]


def seen(folder: Path) -> list[str]:
    """Everything but locks and notes."""
    return sorted(
        p.relative_to(folder).as_posix()
        for p in folder.rglob("*")
        if p.is_file() and not p.name.endswith((".lock", ".unpacked.json"))
    )


def test_a_corpus_is_fetched_checked_unpacked_and_then_left_alone(server: Server, tmp_path: Path) -> None:
    assert get(server, tmp_path / "to", size=len(DATA)) == tmp_path / "to" / "L"
    assert seen(tmp_path / "to") == ["L/README", "L/dev/a.flac"]
    get(server, tmp_path / "to", size=len(DATA))
    assert server.asked == [None]


def test_the_archive_is_kept_when_asked_for(server: Server, tmp_path: Path) -> None:
    get(server, tmp_path, keep=True, into="inside")
    assert seen(tmp_path) == ["dev.tar.gz", "inside/L/README", "inside/L/dev/a.flac"]


def test_what_is_gone_is_fetched_again_and_so_is_another_version(server: Server, tmp_path: Path) -> None:
    get(server, tmp_path)
    shutil.rmtree(tmp_path / "L")
    get(server, tmp_path)
    assert seen(tmp_path) == ["L/README", "L/dev/a.flac"]
    server.body = MORE
    get(server, tmp_path, checksum=hashlib.sha256(MORE).hexdigest())
    assert seen(tmp_path) == ["L/README", "L/dev/a.flac", "L/train/b.flac"]
    assert len(server.asked) == 3


def test_two_subsets_share_a_folder(server: Server, tmp_path: Path) -> None:
    with serving("train.tar.gz") as second:
        second.body = MORE
        train = Archive(second.url, hashlib.md5(MORE).hexdigest())  # noqa: S324
        sources = table(server, train=train)
        download("corpus", ["dev", "train", "dev"], tmp_path, archives=sources)
        assert seen(tmp_path) == ["L/README", "L/dev/a.flac", "L/train/b.flac"]
        assert (server.asked, second.asked) == ([None], [None])
        (tmp_path / "L" / "README").write_text("mine")
        shutil.rmtree(tmp_path / "L" / "train")
        with pytest.raises(InputError, match="README: expected nothing, or what train.tar.gz holds"):
            download("corpus", ["train"], tmp_path, archives=sources)
        assert (tmp_path / "L" / "README").read_text() == "mine"


def test_an_archive_fetched_by_hand_is_taken_when_it_is_the_right_one(server: Server, tmp_path: Path) -> None:
    (tmp_path / "dev.tar.gz").write_bytes(DATA)
    get(server, tmp_path)
    assert server.asked == []
    shutil.rmtree(tmp_path / "L")
    (tmp_path / "dev.tar.gz").write_bytes(MORE)
    with pytest.raises(InputError, match=r"dev\.tar\.gz: expected sha256 .*, found .*; delete it"):
        get(server, tmp_path)
    assert (tmp_path / "dev.tar.gz").read_bytes() == MORE


@pytest.mark.parametrize(
    ("behaviour", "options", "words"),
    [
        (lambda h, s: h.give(body=MORE), {}, f"its sha256 is .*, expected {SHA}"),
        (lambda h, s: h.give(body=MORE), {"size": len(DATA)}, f"it has {len(MORE)} bytes, expected {len(DATA)}"),
        (lambda h, s: h.give(s, declare=len(DATA) + 9), {}, "ended at byte"),
        (lambda h, s: h.give(declare=len(DATA) - 9), {}, "its sha256 is"),
        (lambda h, s: h.give(send=100), {}, "ended at byte 100"),
        (lambda h, s: h.fail(404), {}, "HTTP Error 404"),
        (lambda h, s: h.fail(500), {}, "HTTP Error 500"),
        (lambda h, s: h.fail(301, "http://example.invalid/"), {}, "https only"),
    ],
)
def test_a_server_that_lies_or_fails_unpacks_nothing(
    server: Server, tmp_path: Path, behaviour: object, options: dict[str, object], words: str
) -> None:
    server.behaviour = behaviour  # type: ignore[assignment]
    with pytest.raises(InputError, match=words) as error:
        get(server, tmp_path, **options)
    assert "\n" not in str(error.value)
    assert not [name for name in seen(tmp_path) if not name.startswith("dev.tar.gz.part")]


def test_a_connection_that_breaks_off_is_continued(server: Server, tmp_path: Path) -> None:
    server.behaviour = lambda h, start: h.give(start, send=40_000)
    get(server, tmp_path, size=len(DATA))
    assert server.asked == [None, "bytes=40000-", "bytes=80000-"]
    assert seen(tmp_path) == ["L/README", "L/dev/a.flac"]


def test_a_killed_download_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    server.body = gzip.compress(good_tar({"L/dev/a.flac": bytes(3 << 20)}), 0)
    sha256 = hashlib.sha256(server.body).hexdigest()
    killed = threading.Event()

    def hangs(h: Handler, start: int) -> None:
        if start:
            h.give(start, headers={"ETag": '"1"'})
            return
        h.give(declare=len(server.body), send=2 << 20, headers={"ETag": '"1"'})
        h.wfile.flush()
        killed.wait(30)

    server.behaviour = hangs
    program = (
        "import sys; from pathlib import Path\n"
        "from vcpipe.corpora.archives import Archive, Source\n"
        "from vcpipe.corpora.download import download\n"
        "url, sha256, to = sys.argv[1:]\n"
        "source = Source('https://example.org/', 'CC0', 'L', {'dev': Archive(url, sha256)})\n"
        "print(download('corpus', ['dev'], Path(to), archives={'corpus': source}))\n"
    )
    command = [sys.executable, "-c", program, server.url, sha256, str(tmp_path)]
    first = subprocess.Popen(command)
    part = tmp_path / "dev.tar.gz.part"
    deadline = time.monotonic() + 20
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.wait()
    killed.set()
    have = part.stat().st_size
    assert 0 < have <= 2 << 20
    again = subprocess.run(command, check=True, capture_output=True, text=True)
    assert again.stdout.strip() == str(tmp_path / "L")
    assert (server.asked, server.conditions) == ([None, f"bytes={have}-"], [None, '"1"'])
    assert seen(tmp_path) == ["L/dev/a.flac"]


def test_a_killed_unpacking_is_done_again_without_a_download(server: Server, tmp_path: Path) -> None:
    (tmp_path / "dev.tar.gz").write_bytes(DATA)
    (tmp_path / ".dev.tar.gz.unpacking" / "L").mkdir(parents=True)
    (tmp_path / ".dev.tar.gz.unpacking" / "L" / "half").write_bytes(b"?")
    (tmp_path / "L").mkdir()
    (tmp_path / "L" / "README").write_bytes(b"all")  # killed while things were moved to their places
    get(server, tmp_path)
    assert server.asked == [] and seen(tmp_path) == ["L/README", "L/dev/a.flac"]


@pytest.mark.parametrize("note", ["", "{", "[]", '{"checksum": "%s"}', '{"checksum": "%s", "paths": []}'])
def test_a_spoilt_note_does_not_count(server: Server, tmp_path: Path, note: str) -> None:
    get(server, tmp_path)
    (tmp_path / ".dev.tar.gz.unpacked.json").write_text(note.replace("%s", SHA))
    get(server, tmp_path)
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    "data",
    [tar(entry(b"../evil", b"x")), tar(header(b"a", kind=b"2")), good_zip({"/evil": b"x"}), gzip.compress(bytes(2048))],
)
def test_a_hostile_archive_is_not_unpacked_even_with_the_right_checksum(
    server: Server, tmp_path: Path, data: bytes
) -> None:
    server.body = data
    with pytest.raises(InputError, match=r"dev\.tar\.gz: cannot be unpacked"):
        get(server, tmp_path / "to", checksum=hashlib.sha256(data).hexdigest())
    assert seen(tmp_path) == ["to/dev.tar.gz"]


def test_limits_can_be_given(server: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="more than 1 members"):
        get(server, tmp_path, limits=Limits(members=1))


def test_without_a_checksum_nothing_is_fetched_unless_one_is_given(server: Server, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="no checksum of .* is known, and nothing is unpacked unchecked; give --sha256"
    ):
        get(server, tmp_path, checksum="")
    assert server.asked == [] and seen(tmp_path) == []
    get(server, tmp_path, checksum="", sha256=SHA.upper())
    assert seen(tmp_path) == ["L/README", "L/dev/a.flac"]


@pytest.mark.parametrize(
    ("sha256", "words"),
    [
        ("abc", "expected 64 hex digits, found 'abc'"),
        ("0" * 32, "expected 64 hex digits"),
        ("0" * 64, "is not the known digest [0-9a-f]{64}"),
    ],
)
def test_a_digest_that_cannot_be_right_is_refused(server: Server, tmp_path: Path, sha256: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        get(server, tmp_path, sha256=sha256)
    assert server.asked == []


def test_one_digest_is_not_for_two_archives(server: Server, tmp_path: Path) -> None:
    sources = table(server, train=Archive(server.url))
    with pytest.raises(InputError, match="one digest, but 2 archives"):
        download("corpus", ["dev", "train"], tmp_path, archives=sources, sha256=SHA)


def test_a_disk_that_is_too_small_is_named_with_the_bytes(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 2_499_999))
    with pytest.raises(InputError, match=r"2500000 bytes \(0\.0 GB\) are needed .* dev\.tar\.gz .* 2499999 are free"):
        get(server, tmp_path, size=1_000_000)
    assert server.asked == []
    (tmp_path / "dev.tar.gz.part").write_bytes(b"x" * 10)  # less is missing, so it is the checksum that fails
    server.behaviour = lambda h, start: h.fail(404)
    with pytest.raises(InputError, match="404"):
        get(server, tmp_path, size=1_000_000)


def test_plain_http_from_elsewhere_is_refused_before_anything_happens(tmp_path: Path) -> None:
    source = Source("https://example.org/", "", "L", {"dev": Archive("http://example.invalid/a.tar", SHA)})
    with pytest.raises(InputError, match="https only"):
        download("corpus", [], tmp_path / "to", archives={"corpus": source})
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("kind", sorted(GATED))
def test_what_is_not_free_says_where_to_ask(kind: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is not downloaded, .*\(.+\); ask for it at https://\S+, unpack it") as error:
        download(kind, [], tmp_path)
    assert GATED[kind].home in str(error.value) and GATED[kind].licence in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_unknown_names_are_answered_with_the_known(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="corpus 'librispech': cannot be downloaded; did you mean 'librispeech'"):
        download("librispech", [], tmp_path)
    with pytest.raises(
        InputError, match=r"expected at least one --subset, found none; give any of dev-clean \(0\.3 GB\)"
    ):
        download("librispeech", [], tmp_path)
    with pytest.raises(
        InputError, match="librispeech: 'train' is none of its subsets; give --subset with any of dev-clean"
    ):
        download("librispeech", ["train"], tmp_path)


def test_the_table_is_well_formed() -> None:
    unchecked = []
    for kind, source in SOURCES.items():
        assert source.home and source.licence and source.root
        names = [archive.name for archive in source.archives.values()]
        assert len(set(names)) == len(names)
        for subset, archive in source.archives.items():
            assert archive.url.startswith("https://") and archive.name.endswith((".tar.gz", ".tar.bz2", ".zip"))
            assert archive.size >= 0
            if archive.checksum:
                assert hash_name(archive.checksum)
            else:
                unchecked.append(f"{kind} {subset}")
    assert unchecked == ["libritts_r libritts-r-failed-speech-restoration-examples"]
    assert sum(len(source.archives) for source in SOURCES.values()) == 44


@pytest.mark.parametrize("kind", ["librispeech", "libritts", "vctk", "cmuarctic", "ljspeech"])
def test_the_checksums_are_those_of_torchaudio(kind: str) -> None:
    """What an independent table of the same archives says."""
    module = pytest.importorskip(f"torchaudio.datasets.{kind}")
    if kind == "ljspeech":
        known = {c["url"]: c["checksum"] for c in module._RELEASE_CONFIGS.values()}
    else:
        known = module._CHECKSUMS
    by_name = {url.rsplit("/", 1)[-1]: checksum for url, checksum in known.items()}
    ours = SOURCES["cmu_arctic" if kind == "cmuarctic" else kind].archives.values()
    assert {archive.name: archive.checksum for archive in ours} == by_name
