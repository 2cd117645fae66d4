import hashlib
import http.server
import json
import shutil
import threading
from functools import partial

import pytest

from vcpipe.errors import InputError
from vcpipe.packs.index import parse
from vcpipe.packs.stream import Packs, Stream
from vcpipe.packs.tars import Tars


@pytest.fixture
def copied(packed, tmp_path):
    return shutil.copytree(packed, tmp_path / "packs")


@pytest.fixture
def served(copied):
    """The URL of a folder that can still be changed, and the paths that were asked for."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(copied))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", copied, asked
        server.shutdown()
        thread.join()


def stream(where, **options):
    return Stream(Packs(where, None, **options), frames=9, batch=4, seed=3, shuffle=5)


def epoch(source):
    return [source[step] for step in range(len(source))]


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_flipped_bit_is_found_before_its_tar_is_used(copied):
    flip(copied / "000002.tar", 50_000)
    with pytest.raises(InputError, match=r"000002\.tar: damaged: SHA-256 .*--force .*index\.json"):
        epoch(stream(copied))
    with pytest.raises(InputError, match=r"000002\.tar: damaged"):
        Tars(copied, verify=False).check()
    Tars(copied, verify=False)


@pytest.mark.parametrize("verify", [True, False])
def test_a_tar_that_was_cut_off_or_is_missing_is_named(copied, verify):
    path = copied / "000001.tar"
    path.write_bytes(path.read_bytes()[:-512])
    with pytest.raises(InputError, match=r"000001\.tar: \d+ bytes, expected \d+: cut off or changed; copy it again"):
        epoch(stream(copied, verify=verify))
    path.unlink()
    with pytest.raises(InputError, match=r"000001\.tar: No such file or directory, though the index names it"):
        epoch(stream(copied, verify=verify))


def test_without_an_index_there_are_no_packs(copied):
    (copied / "index.json").unlink()
    with pytest.raises(InputError, match=r"index\.json: no such packs; make them with `snakemake"):
        Packs(copied, None)


def edited(change):
    def edit(raw):
        change(raw)
        return raw

    return edit


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw.update(format="other"),
        lambda raw: raw.pop("tars"),
        lambda raw: raw.update(tars=[]),
        lambda raw: raw.update(tars=[None]),
        lambda raw: raw["tars"][0].update(name="../../etc/passwd"),
        lambda raw: raw["tars"][0].update(name="/etc/passwd.tar"),
        lambda raw: raw["tars"][1].update(name=raw["tars"][0]["name"]),
        lambda raw: raw["tars"][0].update(sha256="x"),
        lambda raw: raw["tars"][0].update(bytes=10),
        lambda raw: raw["tars"][0]["samples"].append(raw["tars"][0]["samples"][0]),
        lambda raw: raw["tars"][0]["samples"][0].update(frames=0),
        lambda raw: raw["tars"][0]["samples"][0].update(frames="many"),
        lambda raw: raw["tars"][0]["samples"][0]["members"].update({"units.npy": [0, 1 << 60, 5]}),
        lambda raw: raw["tars"][0]["samples"][0]["members"].update({"units.npy": [0, 100, 1 << 60]}),
        lambda raw: raw["tars"][0]["samples"][0]["members"].update({"units.npy": [0, 1 << 80, 5]}),
        lambda raw: raw["tars"][0]["samples"][0]["members"].update({"units.npy": [1]}),
        lambda raw: raw["tars"][0]["samples"][0]["members"].pop("wav.flac"),
        lambda raw: raw["columns"]["units"].update(dtypes=["|O", "|O"]),
        lambda raw: raw["columns"]["units"].update(grid="0/0"),
        lambda raw: raw["columns"]["units"].update(dim=-1),
        lambda raw: raw["columns"]["units"].update(form="pkl"),
        lambda raw: raw["columns"]["units"].update(form="npy16"),
        lambda raw: raw["columns"]["units"].update(row="speaker"),
        lambda raw: raw["columns"]["units"].update(row="utterance"),
        lambda raw: raw["columns"]["wav"].update(row="utterance"),
        lambda raw: raw["columns"].update({"../x": raw["columns"]["wav"]}),
    ],
)
def test_an_index_that_was_tampered_with_is_refused(packed, change):
    raw = json.loads((packed / "index.json").read_text())
    parse(json.dumps(raw).encode(), "index.json")
    change(raw)
    with pytest.raises(InputError, match=r"^index\.json: not the index of packs"):
        parse(json.dumps(raw).encode(), "index.json")


def test_packs_behind_a_url_give_the_batches_of_the_folder(served):
    import torch

    url, folder, asked = served
    far, near = stream(url, keep=2), stream(folder)
    for a, b in zip(epoch(far), epoch(near), strict=True):
        assert a["utt_id"] == b["utt_id"] and torch.equal(a["wav"], b["wav"]) and torch.equal(a["units"], b["units"])
    assert far.identity() == near.identity()
    spool = far.packs.tars.spool
    assert len(list(spool.glob("*.tar"))) <= 2
    tars = [path for path in asked if path.endswith(".tar")]
    assert set(tars) == {f"/{i:06d}.tar" for i in range(4)}
    assert len(tars) == 4  # read one after the other, each once
    far.close()
    del far
    assert not spool.exists()


def test_going_on_fetches_no_tar_that_is_done_with(served):
    url, _, asked = served
    stream(url)[8]
    assert sum(path.endswith(".tar") for path in asked) <= 2


def test_what_is_fetched_is_checked(served):
    url, folder, _ = served
    flip(folder / "000000.tar", 9000)
    with pytest.raises(InputError, match=r"from http://.*000000\.tar \(its sha256 is .*\); see whether"):
        epoch(stream(url, verify=False))
    (folder / "000000.tar").unlink()
    with pytest.raises(InputError, match=r"could not be fetched from http://.*000000\.tar \(.*404.*\); see whether"):
        epoch(stream(url))
    (folder / "index.json").unlink()
    with pytest.raises(InputError, match=r"index\.json: could not be fetched .*curl -fI http"):
        stream(url)


@pytest.mark.parametrize("url", ["http://example.invalid/packs", "http://localhost/packs", "https:///packs"])
def test_plain_http_from_elsewhere_is_refused(url):
    with pytest.raises(InputError, match="https only"):
        Packs(url, None)


def test_a_spool_is_shared_and_stays(served, tmp_path):
    url, folder, asked = served
    spool = tmp_path / "spool"
    for _ in range(2):
        epoch(stream(url, spool=spool))
    assert sum(path.endswith(".tar") for path in asked) == 4
    assert {p.stem for p in spool.glob("*.tar")} == {
        hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.glob("*.tar")
    }


def test_the_type_of_sound_of_16_bits_is_checked(packed16):
    raw = json.loads((packed16 / "index.json").read_text())
    raw["columns"]["wav"]["dtypes"] = ["<f4"]
    with pytest.raises(InputError, match="the type of column wav"):
        parse(json.dumps(raw).encode(), "index.json")


@pytest.mark.parametrize("url", ["pipe:touch {}", "file:///etc", "gs://bucket/x", "PIPE:touch {}"])
def test_urls_that_start_programs_are_not_opened(tmp_path, url):
    canary = tmp_path / "canary"
    with pytest.raises(InputError, match="are not opened, only of http, https"):
        Packs(url.format(canary), None)
    assert not canary.exists()
