import hashlib
import threading
import zipfile

import pytest
import torch

from tests.webserver import BODY, RIGHT, serving
from vcpipe import weights
from vcpipe.errors import InputError


@pytest.fixture
def server():
    with serving("model.pt") as server:
        yield server


def fetch(server, tmp_path, sha256=RIGHT, size=0, **options):
    return weights.fetch(server.url, tmp_path / "model.pt", sha256, size, backoff_s=0.001, **options)


def left_over(tmp_path):
    return sorted(p.name for p in tmp_path.iterdir() if not p.name.endswith(".lock"))


def test_a_file_is_fetched_once(server, tmp_path):
    assert fetch(server, tmp_path, size=len(BODY)).read_bytes() == BODY
    fetch(server, tmp_path)
    assert server.asked == [None]
    assert left_over(tmp_path) == ["model.pt"]


def test_a_connection_that_breaks_off_is_taken_up_where_it_ended(server, tmp_path):
    server.behaviour = lambda h, start: h.give(start, send=100_000)
    assert fetch(server, tmp_path, attempts=1 + 1).read_bytes() == BODY
    assert server.asked == [None, "bytes=100000-", "bytes=200000-"]


def test_a_download_goes_on_in_the_next_process(server, tmp_path):
    (tmp_path / "model.pt.part").write_bytes(BODY[:70_000])
    assert fetch(server, tmp_path).read_bytes() == BODY
    assert server.asked == ["bytes=70000-"]


def test_without_a_digest_what_was_left_behind_is_not_trusted(server, tmp_path):
    (tmp_path / "model.pt.part").write_bytes(b"x" * 70_000)
    assert fetch(server, tmp_path, sha256="").read_bytes() == BODY
    assert server.asked == [None]


def test_wrong_bytes_left_behind_are_fetched_again(server, tmp_path):
    (tmp_path / "model.pt.part").write_bytes(b"x" * 70_000)
    assert fetch(server, tmp_path).read_bytes() == BODY
    assert server.asked == ["bytes=70000-", None]


def test_more_left_behind_than_there_is_begins_again(server, tmp_path):
    (tmp_path / "model.pt.part").write_bytes(b"x" * (len(BODY) + 5))
    server.behaviour = lambda h, start: h.fail(416) if start >= len(BODY) else h.give(start)
    assert fetch(server, tmp_path).read_bytes() == BODY


def test_a_server_that_ignores_ranges_begins_again(server, tmp_path):
    replies = iter([lambda h: h.give(send=90_000), lambda h: h.give()])
    server.behaviour = lambda h, start: next(replies)(h)
    assert fetch(server, tmp_path).read_bytes() == BODY
    assert server.asked == [None, "bytes=90000-"]


def test_a_range_that_was_not_asked_for_is_not_glued_on(server, tmp_path):
    replies = iter([lambda h: h.give(send=90_000), lambda h: h.give(10, ranged=True), lambda h: h.give()])
    server.behaviour = lambda h, start: next(replies)(h)
    assert fetch(server, tmp_path, sha256="").read_bytes() == BODY


@pytest.mark.parametrize(
    ("behaviour", "size", "words"),
    [
        (lambda h, start: h.give(declare=len(BODY) + 9), 0, f"ended at byte {len(BODY)} of {len(BODY) + 9}"),
        (
            lambda h, start: h.give(declare=len(BODY) - 9),
            len(BODY),
            f"it has {len(BODY) - 9} bytes, expected {len(BODY)}",
        ),
        (lambda h, start: h.give(declare=len(BODY) - 9), 0, "its sha256 is"),
        (lambda h, start: h.give(declare=1 << 40), 0, "more than the"),
        (lambda h, start: h.give(send=5), 0, "ended at byte 5"),
        (lambda h, start: h.give(body=b"<html>please log in</html>"), 0, f"its sha256 is .*, expected {RIGHT}"),
        (lambda h, start: h.fail(404), 0, "HTTP Error 404"),
        (lambda h, start: h.fail(503), 0, "HTTP Error 503"),
        (lambda h, start: h.fail(302, "http://example.invalid/model.pt"), 0, "https only"),
        (lambda h, start: h.fail(302, "file:///etc/hostname"), 0, "not allowed"),
    ],
)
def test_a_server_that_lies_or_fails_leaves_no_file_and_one_line(server, tmp_path, behaviour, size, words):
    server.behaviour = behaviour
    with pytest.raises(InputError, match=words) as error:
        fetch(server, tmp_path, size=size, attempts=3)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "model.pt").exists()
    assert len(server.asked) <= 4


def test_what_cannot_change_is_not_asked_twice(server, tmp_path):
    server.behaviour = lambda h, start: h.fail(404)
    with pytest.raises(InputError):
        fetch(server, tmp_path)
    assert len(server.asked) == 1


def test_offline_gives_one_line_with_everything_to_do(server, tmp_path):
    server.shutdown()
    server.server_close()
    with pytest.raises(InputError) as error:
        fetch(server, tmp_path, attempts=2)
    line = str(error.value)
    assert "\n" not in line
    for part in ("model.pt", server.url, str(tmp_path / "model.pt"), "weights/model.pt", "by hand"):
        assert part in line


@pytest.mark.parametrize("url", ["http://example.invalid/a.pt", "file:///etc/hostname", "ftp://127.0.0.1/a.pt"])
def test_other_than_https_is_refused(url, tmp_path):
    with pytest.raises(InputError, match="https only"):
        weights.fetch(url, tmp_path / "a.pt")


def test_two_at_once_give_one_download(server, tmp_path):
    found = []
    threads = [threading.Thread(target=lambda: found.append(fetch(server, tmp_path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [p.read_bytes() == BODY for p in found] == [True] * 4
    assert server.asked == [None]


@pytest.fixture
def place(tmp_path, monkeypatch, server):
    """A working folder and a cache of its own, and a known name that the local server holds."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(weights.KNOWN, "model.pt", weights.Known(server.url, RIGHT))
    return tmp_path


def test_a_known_name_goes_to_the_cache(place, server):
    assert weights.find("model.pt") == place / "cache" / "vcpipe" / "model.pt"
    assert weights.find("model.pt").read_bytes() == BODY
    assert server.asked == [None]


def test_a_file_in_weights_is_taken_and_checked(place, server):
    folder = place / "work" / "weights"
    folder.mkdir()
    (folder / "model.pt").write_bytes(BODY)
    assert weights.find("model.pt").read_bytes() == BODY
    (folder / "model.pt").write_bytes(b"other")
    with pytest.raises(InputError, match=r"weights/model.pt: expected sha256 .*, found .*delete it"):
        weights.find("model.pt")
    assert server.asked == []


def test_a_path_is_used_as_it_is(place):
    file = place / "mine.pt"
    file.write_bytes(b"abc")
    assert weights.find(str(file)) == file
    digest = hashlib.sha256(b"abc").hexdigest()
    assert weights.find(str(file), digest.upper()) == file
    with pytest.raises(InputError, match="expected sha256 00"):
        weights.find(str(file), "00")


def test_known_weights_without_a_digest_are_not_fetched_unless_one_is_given(place, server, monkeypatch):
    monkeypatch.setitem(weights.KNOWN, "model.pt", weights.Known(server.url))
    with pytest.raises(InputError, match=r"no SHA-256 of http.* is known, .* by hand to weights/model\.pt"):
        weights.find("model.pt")
    assert server.asked == []
    assert weights.find("model.pt", RIGHT).read_bytes() == BODY


@pytest.mark.parametrize("name", ["modle.pt", "nowhere/model.pt", ""])
def test_neither_file_nor_name(place, name, server):
    with pytest.raises(InputError, match="no such file, and no known name"):
        weights.find(name)
    assert server.asked == []


def test_published_addresses_are_https():
    for name, known in weights.KNOWN.items():
        assert known.url.startswith("https://")
        assert known.url.rpartition(".")[2] == name.rpartition(".")[2]


def bomb(canary):
    """A pickle that runs `touch canary` when it is loaded, written by hand."""
    return b"cposix\nsystem\n(S'touch " + str(canary).encode() + b"'\ntR."


def test_a_pickle_bomb_never_goes_off(tmp_path):
    canary = tmp_path / "canary"
    (tmp_path / "bare.pt").write_bytes(bomb(canary))
    torch.save({"a": torch.zeros(1)}, tmp_path / "good.pt")
    with zipfile.ZipFile(tmp_path / "good.pt") as good, zipfile.ZipFile(tmp_path / "zip.pt", "w") as bad:
        for name in good.namelist():
            bad.writestr(name, bomb(canary) if name.endswith("data.pkl") else good.read(name))
    for name in ("bare.pt", "zip.pt"):
        with pytest.raises(InputError, match=f"{name}: cannot be read as a checkpoint of tensors only"):
            weights.read_pickle_checkpoint(tmp_path / name)
    assert not canary.exists()


def test_checkpoints_are_read_or_refused(tmp_path, monkeypatch):
    torch.save({"model": {"a": torch.ones(3)}, "cfg": {"n": 1}}, tmp_path / "a.pt")
    read = weights.read_pickle_checkpoint(tmp_path / "a.pt")
    assert read["cfg"] == {"n": 1}
    assert torch.equal(read["model"]["a"], torch.ones(3))
    torch.save([1], tmp_path / "list.pt")
    with pytest.raises(InputError, match="expected a checkpoint that is a dictionary, found list"):
        weights.read_pickle_checkpoint(tmp_path / "list.pt")
    (tmp_path / "half.pt").write_bytes((tmp_path / "a.pt").read_bytes()[:300])
    for name in ("half.pt", "none.pt"):
        with pytest.raises(InputError, match=name) as error:
            weights.read_pickle_checkpoint(tmp_path / name)
        assert "\n" not in str(error.value)
    monkeypatch.setattr(torch, "__version__", "2.9.1+cu128")
    with pytest.raises(InputError, match=r"PyTorch 2\.9\.1"):
        weights.read_pickle_checkpoint(tmp_path / "a.pt")


def test_safetensors_come_back_with_their_metadata(tmp_path):
    table = torch.arange(12.0).reshape(3, 4)
    weights.write_safetensors(tmp_path / "m.safetensors", {"a": table, "b": table.T, "c": table[1:]}, {"step": "5"})
    tensors, metadata = weights.read_safetensors(tmp_path / "m.safetensors")
    assert metadata == {"step": "5"}
    assert torch.equal(tensors["b"], table.T)
    assert torch.equal(tensors["c"], table[1:])
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


def test_a_broken_safetensors_file_is_refused(tmp_path):
    (tmp_path / "m.safetensors").write_bytes(b"\xff" * 100)
    for name in ("m.safetensors", "none.safetensors"):
        with pytest.raises(InputError, match=name):
            weights.read_safetensors(tmp_path / name)


def test_a_cache_that_cannot_be_written_is_one_line_that_says_what_to_do(server, tmp_path):
    (tmp_path / "cache").write_text("a file, where a folder should be")
    with pytest.raises(InputError, match=r"cannot be written to .*XDG_CACHE_HOME.*weights/model\.pt") as error:
        weights.fetch(server.url, tmp_path / "cache" / "vcpipe" / "model.pt", RIGHT)
    assert "\n" not in str(error.value) and server.asked == []


def test_the_speaker_encoder_is_not_read_by_an_old_torch_either(monkeypatch):
    from vcpipe.nn.ge2e import load_ge2e

    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    with pytest.raises(InputError, match=r"pretrained\.pt: PyTorch 2\.9\.1"):
        load_ge2e()
