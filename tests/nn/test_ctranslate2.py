"""The reader of CTranslate2 weights, on files written here and on the one that a package carries."""

import struct

import pytest
import torch

from vcpipe.errors import InputError
from vcpipe.nn.ctranslate2 import DTYPES, read_variables
from vcpipe.nn.whisper import MODEL_BIN, MODEL_BIN_SHA256, PACKAGE
from vcpipe.weights import wheel_file


def text(value):
    return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"


def variable(name, tensor, n_bytes=None, dtype_id=None):
    raw = tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
    head = text(name) + struct.pack(f"<B{tensor.ndim}I", tensor.ndim, *tensor.shape)
    dtype_id = DTYPES.index(tensor.dtype) if dtype_id is None else dtype_id
    return head + struct.pack("<BI", dtype_id, len(raw) if n_bytes is None else n_bytes) + raw


def model(variables, aliases=(), version=6, spec="ToySpec", revision=2, n_variables=None):
    n_variables = len(variables) if n_variables is None else n_variables
    return b"".join(
        [
            struct.pack("<I", version) + text(spec) + struct.pack("<II", revision, n_variables),
            *variables,
            struct.pack("<I", len(aliases)),
            *(text(alias) + text(name) for alias, name in aliases),
        ]
    )


WEIGHTS = {
    "a/float": torch.randn(2, 3, generator=torch.Generator().manual_seed(0)),
    "a/half": torch.arange(5).to(torch.float16) / 3,
    "a/bfloat": torch.arange(4).to(torch.bfloat16) / 3,
    "b/heads": torch.tensor(6, dtype=torch.int16),
    "b/flag": torch.tensor(-1, dtype=torch.int8),
    "b/ids": torch.tensor([[7, -8]], dtype=torch.int32),
    "b/nothing": torch.empty(0, 3),
}
GOOD = model([variable(name, tensor) for name, tensor in WEIGHTS.items()], [("a/tied", "a/half")])


def read(tmp_path, raw, **options):
    path = tmp_path / "model.bin"
    path.write_bytes(raw)
    return read_variables(path, "ToySpec", 2, **options)


def test_every_dtype_and_rank_comes_back_exactly(tmp_path):
    found = read(tmp_path, GOOD)
    assert set(found) == {*WEIGHTS, "a/tied"}
    for name, tensor in WEIGHTS.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        assert torch.equal(found[name], tensor)
    assert found["a/tied"].data_ptr() == found["a/half"].data_ptr()


def test_a_prefix_keeps_only_what_starts_with_it(tmp_path):
    assert set(read(tmp_path, GOOD, prefix="b/")) == {"b/heads", "b/flag", "b/ids", "b/nothing"}
    assert set(read(tmp_path, GOOD, prefix="a/")) == {"a/float", "a/half", "a/bfloat", "a/tied"}


@pytest.mark.parametrize("prefix", ["", "b/"])
def test_a_file_cut_anywhere_is_refused(tmp_path, prefix):
    for n in range(len(GOOD)):
        with pytest.raises(InputError, match=r"model\.bin: expected .* found "):
            read(tmp_path, GOOD[:n], prefix=prefix)


ONE = torch.ones(2, 2)
LIES = {
    "another version": (model([], version=5), "binary version 6 .* found 5"),
    "another specification": (model([], spec="OtherSpec"), "ToySpec revision 2 .* found OtherSpec revision 2"),
    "another revision": (model([], revision=3), "ToySpec revision 2 .* found ToySpec revision 3"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "binary version 6"),
    "more bytes after the end": (GOOD + b"x", "the end of the file .* found 1 more bytes"),
    "fewer bytes than the shape needs": (
        model([variable("w", ONE, n_bytes=12)]),
        r"16 bytes for w \(2, 2\) .* found 12",
    ),
    "an unknown dtype": (model([variable("w", ONE, dtype_id=9)]), "w with a dtype id below 6 .* found 9"),
    "the same name twice": (model([variable("w", ONE)] * 2), "every variable once .* second 'w'"),
    "an alias of nothing": (model([variable("w", ONE)], [("v", "u")]), "alias 'v' of a variable .* found 'u'"),
    "an alias over a variable": (model([variable("w", ONE)], [("w", "w")]), "every variable once"),
    "more variables than there are": (model([variable("w", ONE)], n_variables=2), "a variable's name"),
    "a rank beyond reason": (
        model([text("w") + bytes([200]) + bytes(2000)]),
        "w with at most 8 dimensions .* found 200",
    ),
    "a name without an end": (model([struct.pack("<H", 3) + b"abc" + bytes(50)]), "closed by a NUL"),
    "a size beyond memory": (
        model([text("w") + struct.pack("<BIIBI", 2, 2**32 - 1, 2**32 - 1, 0, 2**32 - 1)]),
        "73786976260478468100 bytes for w",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_or_foreign_file_is_refused(tmp_path, lie):
    raw, message = LIES[lie]
    with pytest.raises(InputError, match=message):
        read(tmp_path, raw)


def test_no_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.bin: expected a CTranslate2 model\.bin, found no such file"):
        read_variables(tmp_path / "none.bin", "ToySpec", 2)


def test_the_embedded_model_has_its_148_variables():
    path = wheel_file(PACKAGE, MODEL_BIN, MODEL_BIN_SHA256)
    found = read_variables(path, "WhisperSpec", 3)
    assert len(found) == 148 + 1
    assert found["encoder/conv1/weight"].shape == (384, 80, 3)
    assert found["encoder/conv1/weight"].dtype == torch.float16
    assert found["encoder/num_heads"].item() == 6
    assert found["decoder/projection/weight"] is found["decoder/embeddings/weight"]
