import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcpipe.errors import InputError
from vcpipe.packs.names import SUFFIX, key_of, suffix_of, utt_id_of


@given(st.text(min_size=1).filter(lambda s: s.isprintable()))
def test_a_key_is_legal_everywhere_and_leads_back(utt_id):
    key = key_of(utt_id)
    assert re.fullmatch(r"[A-Za-z0-9=_-]+", key) and not key.startswith("_")
    assert utt_id_of(key) == utt_id


@given(st.text(min_size=1, max_size=8, alphabet="a_=./4é"), st.text(min_size=1, max_size=8, alphabet="a_=./4é"))
def test_two_utterances_have_two_keys(a, b):
    assert (key_of(a) == key_of(b)) == (a == b)


def test_ids_that_are_plain_stay_readable():
    assert key_of("1688-142285-0000") == "1688-142285-0000"
    assert key_of("p225_001") == "p225_001"


@pytest.mark.parametrize("key", ["", "../x", "a.b", "a/b", "=4", "=ff", "=41", "_x", "__meta__", "=GG", "a=2E"])
def test_keys_that_no_utterance_has_are_refused(key):
    with pytest.raises(InputError, match="not the key of an utterance"):
        utt_id_of(key)


def test_an_empty_id_is_refused():
    with pytest.raises(InputError, match="empty id"):
        key_of("")


def test_suffixes():
    assert [suffix_of("units", v, "npy") for v in (0, 2)] == ["units.npy", "units.2.npy"]
    assert [suffix_of("wav", v, "npy16") for v in (0, 1)] == ["wav.int16.npy", "wav.1.int16.npy"]
    for name in ("wav.1.int16.npy", "wav.int16.npy", "units.2.npy", "int16.npy"):
        assert SUFFIX.fullmatch(name)
