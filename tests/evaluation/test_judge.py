"""Every recording is judged once, by its content, in processes of its own; with judges that can be checked by hand."""

import os
import signal
from functools import partial

import numpy as np
import pytest
import soundfile

from vcpipe.errors import InputError
from vcpipe.evaluation import judge as judging
from vcpipe.evaluation.judge import (
    FILE,
    UTTERANCE,
    Judge,
    Judges,
    Question,
    Recordings,
    Task,
    answer,
    content,
    pack,
    unpack,
)
from vcpipe.grid import Grid
from vcpipe.store import write_shard

RATE = 16000
WAV = {"shards": 1}


class Recorded:
    """Makes judges that answer with what they heard, and note every question in a file."""

    def __init__(self, folder):
        self.log = folder / "questions.txt"

    def judge(self, name, version=1, find=None):
        def hear(*waves):
            with open(self.log, "a") as f:
                f.write(f"{name} {' '.join(str(len(wave)) for wave in waves)}\n")
            return find(*waves) if find else [len(wave) for wave in waves]

        def load():
            with open(self.log, "a") as f:
                f.write(f"load {name}\n")
            return hear

        return Judge(name, {"name": name, "version": version}, load)

    def judges(self, **changes):
        made = {name: self.judge(name) for name in ("asr", "verifier", "prosody", "mcd")}
        return Judges(**{**made, "quality": (self.judge("quality-x"),), **changes})

    def asked(self):
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return sorted(line for line in lines if not line.startswith("load")), [x for x in lines if x.startswith("load")]


@pytest.fixture
def recorded(tmp_path):
    return Recorded(tmp_path)


@pytest.fixture
def read(tmp_path):
    rows = [(f"u{n}", np.full((n, 1), 0.1, np.float32)) for n in (1000, 2000, 3000)]
    write_shard(tmp_path / "wav/000.h5", rows, made_by=WAV, grid=Grid(RATE, 1), dim=1, dtype="float32")
    return partial(Recordings, tmp_path / "wav", WAV)


def question(judge, *names):
    return Question(judge, tuple((UTTERANCE, name) for name in names), "-".join(names))


def test_findings_are_made_once_and_kept(tmp_path, recorded, read):
    judges = recorded.judges()
    tasks = [
        Task("one", (question(judges.asr, "u1000"), question(judges.verifier, "u1000"))),
        Task("two", (question(judges.asr, "u2000"), question(judges.prosody, "u1000", "u2000"))),
        Task("again", (question(judges.asr, "u1000"), question(judges.asr, "u1000"))),
    ]
    found = answer(tasks, judges, tmp_path / "cache", read, 2)
    assert found(judges.asr, "u1000") == [1000]
    assert found(judges.prosody, "u1000-u2000") == [1000, 2000]
    assert found(judges.mcd, "u1000") is None
    assert recorded.asked()[0] == ["asr 1000", "asr 2000", "prosody 1000 2000", "verifier 1000"]

    more = (question(judges.asr, "u3000"), question(judges.asr, "u1000"), question(judges.mcd, "u1000", "u3000"))
    found = answer([*tasks, Task("more", more)], judges, tmp_path / "cache", read, 1)
    assert found(judges.verifier, "u1000") == [1000]
    asked, loaded = recorded.asked()
    assert asked == ["asr 3000", "mcd 1000 3000"]
    assert sorted(loaded) == ["load asr", "load mcd"]


def test_a_changed_judge_judges_anew_and_the_others_do_not(tmp_path, recorded, read):
    judges = recorded.judges()

    def tasks(judges):
        return [Task("one", (question(judges.asr, "u1000"), question(judges.verifier, "u1000")))]

    answer(tasks(judges), judges, tmp_path, read, 1)
    recorded.asked()
    newer = recorded.judges(asr=recorded.judge("asr", version=2))
    answer(tasks(newer), newer, tmp_path, read, 1)
    assert recorded.asked()[0] == ["asr 1000"]


def test_a_recording_is_read_once_for_all_that_is_asked_of_it(tmp_path, recorded, read):
    judges, reads = recorded.judges(), tmp_path / "reads.txt"

    class Noted(Recordings):
        def __call__(self, place):
            with open(reads, "a") as f:
                f.write(f"{place[1]}\n")
            return super().__call__(place)

    three = tuple(question(j, *u) for j, *u in ((judges.asr, "u1000"), (judges.prosody, "u2000", "u1000")))
    answer([Task("one", three)], judges, tmp_path / "cache", partial(Noted, *read.args), 1)
    assert sorted(reads.read_text().split()) == ["u1000", "u2000"]


def refuse(wave):
    raise InputError("expected a voice, found none")


def fail(wave):
    raise ZeroDivisionError("oops")


def crash(wave):
    os.kill(os.getpid(), signal.SIGSEGV)


@pytest.mark.parametrize(
    ("find", "error", "message"),
    [
        (refuse, InputError, "^row r, trial bad: expected a voice, found none$"),
        (fail, RuntimeError, "row r, trial bad: judged by asr(.|\n)*ZeroDivisionError: oops"),
        (crash, InputError, "row r, trial bad: expected what asr say of it, .*killed by SIGSEGV"),
    ],
)
def test_who_cannot_judge_names_the_trial_and_keeps_what_was_found(tmp_path, recorded, read, find, error, message):
    judges = recorded.judges(asr=recorded.judge("asr", find=find))
    tasks = [
        Task("row r, trial good", (question(judges.verifier, "u1000"),)),
        Task("row r, trial bad", (question(judges.asr, "u2000"),)),
    ]
    with pytest.raises(error, match=message):
        answer(tasks, judges, tmp_path / "cache", read, 1)
    recorded.asked()
    answer(tasks[:1], judges, tmp_path / "cache", read, 1)
    assert recorded.asked()[0] == []


def test_what_hangs_is_ended(tmp_path, recorded, read, monkeypatch):
    monkeypatch.setattr(judging, "LIMIT_S", 0.5)
    judges = recorded.judges(asr=recorded.judge("asr", find=lambda wave: signal.pause()))
    with pytest.raises(InputError, match=r"trial x: expected what asr say of it, .*no result after 0.5 s"):
        answer([Task("trial x", (question(judges.asr, "u1000"),))], judges, tmp_path / "cache", read, 1)


def test_two_rows_judged_at_once_share_what_they_find(tmp_path, recorded, read):
    """The second is judged in the middle of the first."""
    judges = recorded.judges()

    def tasks():
        yield Task("one", (question(judges.asr, "u1000"),))
        second = [Task("two", (question(judges.asr, "u2000"),)), Task("three", (question(judges.asr, "u3000"),))]
        answer(second, judges, tmp_path / "cache", read, 1)
        yield from second

    found = answer(tasks(), judges, tmp_path / "cache", read, 1)
    assert recorded.asked()[0] == ["asr 1000", "asr 2000", "asr 3000"]
    assert [found(judges.asr, f"u{n}") for n in (1000, 2000, 3000)] == [[1000], [2000], [3000]]


def test_recordings_of_another_rate_are_resampled_and_stereo_is_mixed(tmp_path, read):
    soundfile.write(tmp_path / "a.wav", np.full((48000, 2), 0.1, np.float32), 48000)
    wave = read()((FILE, str(tmp_path / "a.wav")))
    assert wave.shape == (16000,) and wave.dtype == np.float32
    assert wave[8000] == pytest.approx(0.1, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "samples", "message"),
    [
        ("nan.wav", np.full(1600, np.nan, np.float32), r"nan.wav: not_finite \(1600 samples are NaN or infinite\)"),
        ("empty.wav", np.zeros(0, np.float32), "empty.wav: empty"),
        ("none.wav", None, "none.wav: "),
    ],
)
def test_what_is_no_recording_is_refused(tmp_path, read, name, samples, message):
    if samples is not None:
        soundfile.write(tmp_path / name, samples, RATE, subtype="FLOAT")
    with pytest.raises(InputError, match=message):
        read()((FILE, str(tmp_path / name)))


def test_shards_of_another_rate_are_refused(tmp_path):
    rows = [("u", np.full((100, 1), 0.1, np.float32))]
    write_shard(tmp_path / "000.h5", rows, made_by=WAV, grid=Grid(24000, 1), dim=1, dtype="float32")
    with pytest.raises(InputError, match="000.h5: expected recordings at 16000 Hz, found 24000; give the judge"):
        Recordings(tmp_path, WAV)((UTTERANCE, "u"))


def test_content_is_the_samples():
    wave = np.linspace(-1, 1, 100, dtype=np.float32)
    assert content(wave) == content(np.array(wave)) == content(np.stack([wave, wave], axis=1)[:, 0])
    other = np.array(wave)
    other[7] = np.nextafter(other[7], np.float32(2))
    assert len({content(wave), content(other), content(wave[:-1])}) == 3


def test_an_embedding_is_kept_to_the_bit():
    embedding = np.random.default_rng(0).normal(size=256).astype(np.float32)
    assert unpack(pack(embedding)).tobytes() == embedding.tobytes()
    assert unpack(pack(embedding)).flags.writeable
