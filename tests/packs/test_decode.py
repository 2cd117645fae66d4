"""Tars that somebody else wrote: nothing in them is run, and what is refused is named."""

import io
import json
import os
import struct
import tarfile

import numpy as np
import pytest
import webdataset

from vcpipe.errors import InputError
from vcpipe.packs.decode import decode, read_flac, read_json, read_npy, read_npy16
from vcpipe.packs.flac import encode


class Bomb:
    """An object whose unpickling creates a file."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


def npy(array, **options):
    out = io.BytesIO()
    np.lib.format.write_array(out, array, **options)
    return out.getvalue()


def header(text, body=b"", length=None):
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text) if length is None else length) + text.encode() + body


def tar_of(path, members):
    with tarfile.open(path, "w") as f:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            f.addfile(info, io.BytesIO(data))
    return path


def samples(path):
    return list(webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False).map(decode))


def meta(utt_id="u"):
    return json.dumps({"utt_id": utt_id}).encode()


def test_packs_are_read_by_webdataset(corpus, either):
    packed, bound = either
    urls = sorted(map(str, packed.glob("*.tar")))
    found = {s["utt_id"]: s for s in webdataset.WebDataset(urls, shardshuffle=False).map(decode)}
    assert sorted(found) == sorted(corpus.ids)
    columns = {c.name: c for c in corpus.columns()}
    for row in corpus.rows:
        sample = found[row.utt_id]
        assert (sample["speaker"], sample["text"]) == (row.speaker, row.text)
        units, wav = columns["units"], columns["wav"]
        assert sample["lengths"] == {"units": units.length(row.utt_id), "wav": row.n_samples}
        for v in units.holders(row.utt_id):
            got = sample["units.1" if v else "units"]
            np.testing.assert_array_equal(got, units.read(row.utt_id, v, 0, len(got)))
        assert sample["wav"].dtype == np.float32
        np.testing.assert_allclose(sample["wav"], wav.read(row.utt_id, 0, 0, row.n_samples)[:, 0], atol=bound, rtol=0)


@pytest.mark.parametrize(
    "suffix",
    ["pyd", "pkl", "pth", "pickle", "npy.pyd", "units.pyd", "cls", "txt", "npy", "units.0.npy", "Npy.npz", "mp4"],
)
def test_members_of_other_kinds_are_refused_unopened(tmp_path, suffix):
    import pickle

    canary = tmp_path / "canary"
    tar = tar_of(tmp_path / "x.tar", {"u.json": meta(), f"u.{suffix}": pickle.dumps(Bomb(canary))})
    with pytest.raises(InputError, match=rf"x\.tar: member u\.{suffix.lower()} is neither"):
        samples(tar)
    assert not canary.exists()


def test_the_default_decoder_would_have_run_it(tmp_path):
    """What the decoder is for: the same tar through webdataset's own one writes the canary."""
    import pickle

    canary = tmp_path / "canary"
    tar = tar_of(tmp_path / "x.tar", {"u.pyd": pickle.dumps(Bomb(canary))})
    list(webdataset.WebDataset(str(tar), shardshuffle=False).decode())
    assert canary.exists()


def test_object_arrays_are_refused_unopened(tmp_path):
    canary = tmp_path / "canary"
    data = npy(np.asarray([Bomb(canary)], object), allow_pickle=True)
    tar = tar_of(tmp_path / "x.tar", {"u.json": meta(), "u.units.npy": data})
    with pytest.raises(InputError, match=r"x\.tar: member u\.units\.npy is not an array of plain numbers"):
        samples(tar)
    assert not canary.exists()


GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        b"PK\3\4" + bytes(100),
        header(GOOD, bytes(23)),
        header(GOOD, bytes(25)),
        header(GOOD.replace("(2, 3)", "(999999999999, 999999999999)"), bytes(24)),
        header(GOOD.replace("(2, 3)", "(-1, -6)"), bytes(24)),
        header(GOOD, bytes(24), length=65535),
        header(GOOD.replace("False", "True"), bytes(24)),
        header(GOOD.replace("<f4", "|O"), bytes(24)),
        header(GOOD.replace("<f4", "|V4"), bytes(24)),
        header(GOOD.replace("'<f4'", "[('a', '<f4')]"), bytes(24)),
        header(GOOD.replace("(2, 3)", "__import__('os')"), bytes(24)),
        header(GOOD.replace("(2, 3)", "(2, 3), 'x': 1"), bytes(24)),
        b"\x93NUMPY\2\0" + struct.pack("<I", 0xFFFFFFFF) + GOOD.encode() + bytes(24),
        b"\x93NUMPY\x09\0" + header(GOOD, bytes(24))[8:],
    ],
)
def test_arrays_that_are_not_what_they_say_are_refused(data):
    with pytest.raises(InputError, match=r"^x\.tar: member a\.npy .*; use tars that"):
        read_npy(data, "x.tar: member a.npy")


@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3), (2, 0, 4)])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i8", "u1", "?"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_plain_arrays_are_read(shape, dtype, version):
    array = np.ones(shape, dtype)
    np.testing.assert_array_equal(read_npy(npy(array, version=version), "a"), array)
    assert read_npy(npy(array, version=version), "a").dtype == array.dtype


def test_sound_is_only_what_its_bytes_fill(tmp_path):
    good = encode(np.zeros(5000, np.float32), 16000)
    assert read_flac(good, "a").shape == (5000,)
    huge = bytearray(good)
    huge[21] |= 0x0F
    with pytest.raises(InputError, match="claims .* samples, expected 1 to"):
        read_flac(bytes(huge), "a")
    more = bytearray(good)
    more[23] = 0xFF
    with pytest.raises(InputError, match="claims .* and holds|damaged"):
        read_flac(bytes(more), "a")
    wav = io.BytesIO()
    import soundfile

    soundfile.write(wav, np.zeros(100), 16000, format="WAV")
    for data in (b"", b"fLaC", wav.getvalue(), good[:50], good[:-20]):
        with pytest.raises(InputError):
            read_flac(data, "a")


@pytest.mark.parametrize("array", [np.zeros((5, 1), "i4"), np.zeros(5, "i2"), np.zeros((5, 2), "i2"), np.int16(3)])
def test_whole_numbers_that_are_no_sound_are_refused(array):
    assert read_npy16(npy(np.asarray([[-32768], [16384]], "i2")), "a").tolist() == [-1.0, 0.5]
    with pytest.raises(InputError, match=r"^x\.tar: member a\.wav\.int16\.npy is .*, expected int16 \(N, 1\)"):
        read_npy16(npy(np.asarray(array)), "x.tar: member a.wav.int16.npy")


@pytest.mark.parametrize("data", [b"", b"[1]", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":"' + bytes(2 << 20)])
def test_json_that_is_none_is_refused(data):
    with pytest.raises(InputError):
        read_json(data, "x.tar: member u.json")


@pytest.mark.parametrize("name", ["/etc/x", "a/../b", "a/b", "=zz", "a b"])
def test_keys_that_lead_elsewhere_are_refused(tmp_path, name):
    tar = tar_of(tmp_path / "x.tar", {f"{name}.json": meta()})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=r"x\.tar: .* is not the key of an utterance"):
        samples(tar)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_key_and_its_json_must_agree(tmp_path):
    for members in ({"u.json": meta("v")}, {"u.units.npy": npy(np.ones((2, 2), "f4"))}):
        with pytest.raises(InputError, match=r"x\.tar: u\.json is of utterance"):
            samples(tar_of(tmp_path / "x.tar", members))
