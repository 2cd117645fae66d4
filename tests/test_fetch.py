import hashlib
import shutil
from collections import namedtuple

import pytest

from tests.webserver import BODY, RIGHT, serving
from vcpipe.errors import InputError
from vcpipe.fetch import check_address, fetch, hash_name

OTHER = BODY[::-1]
OTHER_RIGHT = hashlib.sha256(OTHER).hexdigest()


@pytest.fixture
def server():
    with serving("a.tar") as server:
        yield server


def get(server, tmp_path, checksum=RIGHT, size=0, **options):
    return fetch(server.url, tmp_path / "a.tar", checksum, size, backoff_s=0.001, **options)


def left(tmp_path):
    return sorted(p.name for p in tmp_path.iterdir() if not p.name.endswith(".lock"))


def versions(first, second):
    """A server that breaks off within the first version of a file and has the second one from then on."""
    state = iter([("one", first, 90_000)])

    def behaviour(h, start):
        tag, body, send = next(state, ("two", second, None))
        honoured = h.headers.get("If-Range") == f'"{tag}"'
        h.give(start if honoured else 0, send=send, body=body, headers={"ETag": f'"{tag}"'})

    return behaviour


def test_what_the_server_calls_the_same_file_is_continued(server, tmp_path):
    server.behaviour = lambda h, start: h.give(start, send=None if start else 90_000, headers={"ETag": '"v1"'})
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.asked == [None, "bytes=90000-"]
    assert server.conditions == [None, '"v1"']
    assert left(tmp_path) == ["a.tar"]


def test_the_etag_is_remembered_by_the_next_process(server, tmp_path):
    server.behaviour = lambda h, start: h.give(start, send=10 if start else 90_000, headers={"ETag": '"v1"'})
    with pytest.raises(InputError, match="ended at byte"):
        get(server, tmp_path, attempts=1)
    assert left(tmp_path) == ["a.tar.part", "a.tar.part.json"]
    server.behaviour = lambda h, start: h.give(start, headers={"ETag": '"v1"'})
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.conditions[-1] == '"v1"'


def test_a_file_that_changed_meanwhile_comes_whole(server, tmp_path):
    server.behaviour = versions(BODY, OTHER)
    assert get(server, tmp_path, OTHER_RIGHT).read_bytes() == OTHER
    assert server.asked == [None, "bytes=90000-"]


def test_a_part_of_another_version_is_not_glued_on(server, tmp_path):
    replies = iter([lambda h, s: h.give(send=90_000, headers={"ETag": '"one"'})])
    rest = lambda h, s: h.give(s, body=OTHER, headers={"ETag": '"two"'})  # noqa: E731
    server.behaviour = lambda h, start: next(replies, rest)(h, start)
    assert get(server, tmp_path, OTHER_RIGHT).read_bytes() == OTHER
    assert server.asked == [None, "bytes=90000-", None]


def test_without_an_etag_the_checksum_finds_out_and_it_begins_once_more(server, tmp_path):
    replies = iter([lambda h, s: h.give(send=90_000)])
    server.behaviour = lambda h, start: next(replies, lambda h, s: h.give(s, body=OTHER))(h, start)
    assert get(server, tmp_path, OTHER_RIGHT).read_bytes() == OTHER
    assert server.asked == [None, "bytes=90000-", None]


def test_a_weak_etag_is_not_relied_on_but_the_date_is(server, tmp_path):
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    headers = {"ETag": 'W/"v1"', "Last-Modified": date}
    server.behaviour = lambda h, start: h.give(start, send=None if start else 90_000, headers=headers)
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.conditions == [None, date]


@pytest.mark.parametrize("note", ["", "[]", "{", '{"validator": 3}', '{"validator": "a\\r\\nX: 1"}'])
def test_a_spoilt_note_is_passed_over(server, tmp_path, note):
    (tmp_path / "a.tar.part").write_bytes(BODY[:50])
    (tmp_path / "a.tar.part.json").write_text(note)
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.conditions == [None]


def test_md5_is_told_by_its_length(server, tmp_path):
    md5 = hashlib.md5(BODY).hexdigest()  # noqa: S324
    assert get(server, tmp_path, md5.upper()).read_bytes() == BODY
    with pytest.raises(InputError, match=f"expected md5 {'0' * 32}, found {md5}; delete it"):
        get(server, tmp_path, "0" * 32)
    assert (tmp_path / "a.tar").read_bytes() == BODY
    assert [hash_name(text) for text in ("a" * 64, "a" * 32, "a" * 40, "g" * 64, "")] == ["sha256", "md5", "", "", ""]


@pytest.mark.parametrize("checksum", ["abc", "g" * 64, "a" * 40])
def test_what_is_no_checksum_is_refused(server, tmp_path, checksum):
    with pytest.raises(InputError, match="expected a checksum of 64"):
        get(server, tmp_path, checksum)
    assert server.asked == []


def test_a_wrong_checksum_leaves_nothing(server, tmp_path):
    with pytest.raises(InputError, match=r"its sha256 is .* put it at .*a\.tar"):
        get(server, tmp_path, "0" * 64)
    assert left(tmp_path) == []


@pytest.mark.parametrize("length", ["abc", "-5", "1e3", "٣"])
def test_a_length_that_is_no_number_is_no_crash(server, tmp_path, length):
    def behaviour(h, start):
        h.send_response(200)
        h._headers_buffer.append(f"Content-Length: {length}\r\n".encode())
        h.end_headers()
        h.wfile.write(BODY)

    server.behaviour = behaviour
    assert get(server, tmp_path).read_bytes() == BODY


def test_an_endless_answer_ends(server, tmp_path):
    def behaviour(h, start):
        h.send_response(200)
        h.end_headers()
        while True:
            h.wfile.write(BODY)

    server.behaviour = behaviour
    with pytest.raises(InputError, match="longer than 1000000 bytes"):
        get(server, tmp_path, most=1_000_000)
    assert not (tmp_path / "a.tar").exists()


def test_a_full_disk_is_seen_before_it_is_full(server, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 1000))
    with pytest.raises(InputError, match=f"{len(BODY)} bytes are needed on the disk, 1000 are free"):
        get(server, tmp_path)
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    "url",
    [
        "http://example.invalid/a.tar",
        "http://localhost/a.tar",
        "http://127.0.0.1.example.invalid/a.tar",
        "http://127.0.0.1@example.invalid/a.tar",
        "http://0/a.tar",
        "ftp://127.0.0.1/a.tar",
        "file:///etc/hostname",
        "https:///a.tar",
        "",
    ],
)
def test_only_https_is_fetched(url, tmp_path):
    with pytest.raises(InputError, match="https only"):
        fetch(url, tmp_path / "a.tar", RIGHT)
    assert left(tmp_path) == []


def test_a_redirection_from_https_does_not_lead_to_this_computer():
    check_address("http://127.0.0.1:8/a")
    with pytest.raises(InputError, match="https only"):
        check_address("http://127.0.0.1:8/a", local=False)


def test_a_redirection_on_this_computer_is_followed(server, tmp_path):
    replies = iter([lambda h, s: h.fail(302, "/elsewhere")])
    server.behaviour = lambda h, start: next(replies, lambda h, s: h.give(s))(h, start)
    assert get(server, tmp_path).read_bytes() == BODY
