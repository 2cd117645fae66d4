"""A row's folder from conversions to figures; with judges that can be checked by hand, and on real speech."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from vcpipe import results
from vcpipe.errors import InputError
from vcpipe.evaluation.evaluate import judge_row
from vcpipe.evaluation.judge import Judge, Judges, load_judges, pack
from vcpipe.grid import Grid
from vcpipe.manifest import Utterance, read_lines, write_lines, write_table
from vcpipe.store import write_shard

RATE = 16000
SAYS = {1: "the cat sat", 2: "the hat sat", 3: "a dog", 4: "", 5: "the cat sat", 6: "a dog"}
VOICES = {1: [1.0, 0.0], 2: [0.6, 0.8], 3: [0.0, 1.0], 4: [0.8, 0.6], 5: [1.0, 0.0], 6: [0.0, 1.0]}
SETTINGS = {"asr": "ear", "verifier": "voice", "quality": ["fine"], "enrolment": 2, "seed": 0, "resamples": 20}
MADE_BY = {"stage": "judge", "judge": SETTINGS, "wav": {"shards": 1}}
MEASURES = {"f0_corr": 0.5, "f0_rmse_cents": None, "vuv_error": 0.25, "energy_corr": 1.0}


def wave(kind, n=1600):
    """Its level says what it is; low enough to be read as it was written."""
    return np.full(n, kind / 32, np.float32)


def kind(samples):
    return round(32 * float(samples[0]))


@pytest.fixture
def judges(tmp_path):
    def judge(name, find):
        def hear(*waves):
            with open(tmp_path / "questions.txt", "a") as f:
                f.write(f"{name} {' '.join(str(kind(wave)) for wave in waves)}\n")
            return find(*waves)

        return Judge(name, {"name": name}, lambda: hear)

    return Judges(
        asr=judge("asr", lambda wave: SAYS[kind(wave)]),
        verifier=judge("verifier", lambda wave: pack(np.array(VOICES[kind(wave)], np.float32))),
        quality=(judge("fine", lambda wave: {"dnsmos_ovrl": 3.0 + kind(wave) / 8}),),
        prosody=judge(
            "prosody", lambda source, converted: {**MEASURES, "duration_ratio": len(converted) / len(source)}
        ),
        mcd=judge("mcd", lambda converted, same: {"mcd_db": float(10 * kind(converted) + kind(same))}),
    )


UTTERANCES = [
    Utterance("s1", "sue", "s1.wav", 1600, RATE, text="The cat sat.", split="test"),
    Utterance("s5", "sue", "s5.wav", 1600, RATE, text="", split="train"),
    Utterance("t3", "tom", "t3.wav", 1600, RATE, text="A dog!", split="test"),
    Utterance("t6", "tom", "t6.wav", 1600, RATE, text="the  cat sat", split="train"),
]


def trial(name, source, target, converted, **changes):
    utterance = next(u for u in UTTERANCES if u.utt_id == source)
    line = {"name": name, "row": "row", "system": "sys", "text": utterance.text, "source_utt": source}
    line |= {
        "source_speaker": utterance.speaker,
        "source_split": "test",
        "target_speaker": target,
        "references": ["t6"],
    }
    line |= {
        "reference_utt": "t6",
        "reference_s": 0.1,
        "seed": 5,
        "converted": f"audio/{converted}.wav",
        "settings": {},
    }
    return line | {"seconds": 0.1, "rtf": 0.2, "vcpipe": "1"} | changes


TRIALS = [trial("right", "s1", "tom", 3), trial("off", "s1", "tom", 2), trial("self", "t3", "tom", 6)]
SYSTEM = {"row": "row", "system": "sys", "label": "Row", "kind": "system", "about": "It is.", "parameters": 12}
SYSTEM |= {"model_mib": 1.5, "peak_mib": None, "device": "cpu", "threads": 1, "speaker_encoder": None, "models": {}}
SYSTEM |= {"settings": {"k": 4}, "run": ""}


@pytest.fixture
def corpus(tmp_path):
    """Audio shards and a manifest, and a function that makes a row's folder and one that judges it."""
    rows = [(u.utt_id, wave(int(u.utt_id[1]))[:, None]) for u in UTTERANCES]
    write_shard(tmp_path / "wav/000.h5", rows, made_by=MADE_BY["wav"], grid=Grid(RATE, 1), dim=1, dtype="float32")
    write_table(tmp_path / "manifest.csv", UTTERANCES, Utterance)
    return tmp_path


def make_row(corpus, trials=TRIALS, system=SYSTEM, name="row"):
    folder = corpus / name
    (folder / "audio").mkdir(parents=True)
    for number in SAYS:
        soundfile.write(folder / f"audio/{number}.wav", wave(number), RATE)
    (folder / "system.json").write_text(json.dumps({**system, "row": name}))
    write_lines(folder / "pairs.jsonl", ({**line, "row": name} for line in trials))
    return folder


def judge_it(corpus, folder, judges, made_by=MADE_BY, threads=1):
    judge_row(made_by, folder, corpus / "manifest.csv", corpus / "wav", corpus / "cache", threads, judges)
    return results.load(folder)


def questions(corpus):
    path = corpus / "questions.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return sorted(lines)


def test_every_number_of_a_row(corpus, judges):
    found = judge_it(corpus, make_row(corpus), judges, threads=2)
    right, off, own = found.judged
    assert right == {
        "name": "right",
        "source_utt": "s1",
        "source_speaker": "sue",
        "target_speaker": "tom",
        "text": "The cat sat.",
        "hypothesis": "a dog",
        "source_hypothesis": "the cat sat",
        "word_errors": 3,
        "words": 3,
        "char_errors": 9,
        "chars": 11,
        "echo_word_errors": 3,
        "echo_words": 3,
        "echo_char_errors": 9,
        "echo_chars": 11,
        "source_word_errors": 0,
        "source_char_errors": 0,
        "cos_target": 1.0,
        "cos_source": 0.0,
        "nearer_to_target": True,
        "f0_corr": 0.5,
        "f0_rmse_cents": None,
        "vuv_error": 0.25,
        "energy_corr": 1.0,
        "duration_ratio": 1.0,
        "mcd_db": 36.0,
        "dnsmos_ovrl": 3.375,
        "rtf": 0.2,
        "reference_s": 0.1,
    }
    assert (off["word_errors"], off["words"], off["echo_word_errors"]) == (1, 3, 1)
    assert (off["cos_target"], off["cos_source"]) == pytest.approx((0.8, 0.6))
    assert (own["mcd_db"], own["nearer_to_target"], own["word_errors"]) == (63.0, None, 0)
    assert found.metrics["genuine"] == [
        {"speaker": "sue", "utt": "s1", "cos": 1.0},
        {"speaker": "tom", "utt": "t3", "cos": 1.0},
    ]
    assert found.metrics["costs"] == {"peak_mib": None, "model_mib": 1.5, "parameters": 12}
    assert found.metrics["measures"]["wer"]["value"] == pytest.approx(4 / 8)
    assert found.metrics["n"] == 3
    assert found.protocol["enrolment"]["apart_from_sources"] == {"sue": ["s5"], "tom": ["t6"]}


def test_without_text_words_are_not_judged_and_what_is_heard_in_the_source_is(corpus, judges):
    (line,) = judge_it(corpus, make_row(corpus, [trial("no text", "s5", "tom", 2)]), judges).judged
    assert [line[k] for k in ("word_errors", "words", "char_errors", "chars", "source_word_errors")] == [0] * 5
    assert (line["echo_word_errors"], line["echo_words"], line["mcd_db"]) == (1, 3, None)


def test_a_second_row_asks_only_what_is_new(corpus, judges):
    first = judge_it(corpus, make_row(corpus), judges)
    assert questions(corpus) == sorted(
        [f"asr {n}" for n in (1, 2, 3, 6)]  # 3 is heard once: converted, and a source
        + [f"verifier {n}" for n in (1, 2, 3, 5, 6)]
        + [f"fine {n}" for n in (2, 3, 6)]
        + ["prosody 1 2", "prosody 1 3", "prosody 3 6", "mcd 2 6", "mcd 3 6", "mcd 6 3"]
    )
    again = judge_it(corpus, make_row(corpus, name="again"), judges)
    assert questions(corpus) == []
    assert again.judged == first.judged
    more = judge_it(corpus, make_row(corpus, [*TRIALS, trial("new", "s1", "tom", 4)], name="more"), judges)
    assert questions(corpus) == ["asr 4", "fine 4", "mcd 4 6", "prosody 1 4", "verifier 4"]
    assert more.judged[:3] == first.judged
    other = replace(judges, quality=(*judges.quality, Judge("new", {"name": "new"}, lambda: lambda wave: {"mos": 1.0})))
    assert judge_it(corpus, corpus / "more", other).judged[3]["mos"] == 1.0
    assert questions(corpus) == []


def test_the_same_row_gives_the_same_files(corpus, judges):
    def judged(threads):
        folder = make_row(corpus)
        judge_it(corpus, folder, judges, threads=threads)
        return {name: (folder / name).read_bytes() for name in ("judged.jsonl", "metrics.json", "protocol.json")}

    first = judged(2)
    shutil.rmtree(corpus / "row")
    shutil.rmtree(corpus / "cache")
    assert judged(1) == first


NO = trial("bad", "s1", "tom", 3)


@pytest.mark.parametrize(
    ("trials", "system", "message"),
    [
        ([], SYSTEM, "pairs.jsonl: expected at least one trial, found none"),
        ([NO, NO], SYSTEM, "pairs.jsonl: expected a name once, found 'bad' twice; render the row again"),
        ([{**NO, "source_utt": "s9"}], SYSTEM, "row row, trial bad: expected its source s9 in the manifest, found no"),
        ([{**NO, "source_speaker": "tom"}], SYSTEM, "trial bad: expected a source of speaker tom, found s1 of sue"),
        ([{**NO, "target_speaker": "tim"}], SYSTEM, "trial bad: expected recordings of its target tim in the manifest"),
        ([{**NO, "converted": "audio/9.wav"}], SYSTEM, "trial bad: expected its conversion at .*9.wav, found no such"),
        ([{k: v for k, v in NO.items() if k != "seed"}], SYSTEM, "pairs.jsonl:1: expected the keys .*, missing seed"),
        ([NO], {k: v for k, v in SYSTEM.items() if k != "models"}, "system.json: expected the keys .*, missing models"),
    ],
    ids=["none", "twice", "source", "speaker", "target", "converted", "seed", "models"],
)
def test_what_cannot_be_judged_is_refused_at_once(corpus, judges, trials, system, message):
    folder = make_row(corpus, trials, system)
    with pytest.raises(InputError, match=message):
        judge_it(corpus, folder, judges)
    assert questions(corpus) == []
    assert not (folder / "metrics.json").exists()


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(0, np.float32), r"^row row, trial bad: .*9.wav: empty"),
        (np.full(1600, np.nan, np.float32), r"^row row, trial bad: .*9.wav: not_finite \(1600 samples are NaN"),
    ],
    ids=["empty", "nan"],
)
def test_what_is_no_recording_is_refused_by_the_trials_name(corpus, judges, samples, message):
    folder = make_row(corpus, [NO | {"converted": "audio/9.wav"}])
    soundfile.write(folder / "audio/9.wav", samples, RATE, subtype="FLOAT")
    with pytest.raises(InputError, match=message):
        judge_it(corpus, folder, judges)
    assert not (folder / "protocol.json").exists()


def test_a_speaker_of_one_recording_is_refused_as_a_source(corpus, judges):
    write_table(corpus / "manifest.csv", [u for u in UTTERANCES if u.utt_id != "s5"], Utterance)
    with pytest.raises(InputError, match="row row, trial right: speaker sue: expected a recording besides s1 to know"):
        judge_it(corpus, make_row(corpus), judges)


def test_files_that_are_damaged_are_refused(corpus, judges):
    folder = make_row(corpus)
    (folder / "pairs.jsonl").write_text('{"name": "x"')
    with pytest.raises(InputError, match="its system.json or pairs.jsonl is damaged"):
        judge_it(corpus, folder, judges)
    (folder / "system.json").unlink()
    with pytest.raises(InputError, match="system.json: expected what made the row, found no such file"):
        judge_it(corpus, folder, judges)


def test_a_row_that_was_judged_by_halves_cannot_be_read(corpus, judges, monkeypatch):
    folder = make_row(corpus)
    judge_it(corpus, folder, judges)
    published = []

    def killed(tmp, final):
        if published:
            raise KeyboardInterrupt
        published.append(final.name)
        tmp.rename(final)

    monkeypatch.setattr("vcpipe.manifest.publish", killed)
    with pytest.raises(KeyboardInterrupt):
        judge_it(corpus, folder, judges)
    assert published == ["judged.jsonl"]
    with pytest.raises(InputError, match="expected the protocol of these figures, found none"):
        results.load(folder)


def test_a_row_that_was_conditioned_by_the_verifier_is_refused(corpus, judges):
    folder = make_row(corpus, system={**SYSTEM, "speaker_encoder": "ge2e"})
    with pytest.raises(
        InputError, match="row 'row': expected a verifier that knows nothing of the system, found 'ge2e'"
    ):
        judge_it(corpus, folder, judges, {**MADE_BY, "judge": {**SETTINGS, "verifier": "ge2e"}})
    assert questions(corpus) == []


REAL = {"asr": "whisper_tiny_en", "verifier": "ge2e", "quality": [], "enrolment": 2, "seed": 0, "resamples": 20}


def test_recordings_that_nobody_changed_show_the_judges_own_errors(real_data, tmp_path):
    """Identity is without error in all but the recogniser's own; noise has nothing right."""
    made_by = {"stage": "judge", "judge": REAL, "wav": {"shards": 1}}
    folder, rows, utterances, trials = tmp_path / "row", [], [], []
    (folder / "audio").mkdir(parents=True)
    speakers = sorted(real_data.glob("corpora/LibriSpeech/test-*/*"))[:2]
    for speaker in speakers:
        said = dict(line.split(" ", 1) for path in speaker.glob("*/*.trans.txt") for line in path.open())
        shortest = sorted(speaker.glob("*/*.flac"), key=lambda path: path.stat().st_size)[2:5]
        for path in shortest:
            samples = soundfile.read(path, dtype="float32")[0]
            rows.append((path.stem, samples[:, None]))
            text = said[path.stem].strip()
            utterances.append(Utterance(path.stem, speaker.name, path.name, len(samples), RATE, text, split="test"))
        name = shortest[0].stem
        noise = np.random.default_rng(0).uniform(-0.1, 0.1, 40000).astype(np.float32)
        for kind, converted in (("same", rows[-3][1][:, 0]), ("noise", noise)):
            soundfile.write(folder / f"audio/{kind}-{name}.wav", converted, RATE)
            line = trial(f"{kind}-{name}", "s1", speaker.name, f"{kind}-{name}", source_utt=name)
            trials.append(line | {"source_speaker": speaker.name, "text": said[name].strip(), "references": []})
    write_shard(tmp_path / "wav/000.h5", rows, made_by=made_by["wav"], grid=Grid(RATE, 1), dim=1, dtype="float32")
    write_table(tmp_path / "manifest.csv", utterances, Utterance)
    (folder / "system.json").write_text(json.dumps(SYSTEM))
    write_lines(folder / "pairs.jsonl", trials)
    found = judge_it(tmp_path, folder, load_judges(REAL), made_by)
    assert [line["name"].split("-")[0] for line in found.judged] == ["same", "noise"] * 2
    for line in found.judged[::2]:
        assert line["word_errors"] == line["source_word_errors"] < line["words"] / 2
        assert line["char_errors"] == line["source_char_errors"]
        assert line["hypothesis"] == line["source_hypothesis"] != ""
        assert line["echo_word_errors"] == line["echo_char_errors"] == 0 < line["echo_words"]
        assert line["mcd_db"] == line["f0_rmse_cents"] == line["vuv_error"] == 0
        assert line["f0_corr"] == line["energy_corr"] == line["duration_ratio"] == 1
        assert line["cos_target"] == line["cos_source"] > 0.7
        assert line["cos_target"] == next(g["cos"] for g in found.metrics["genuine"] if g["utt"] == line["source_utt"])
    for line in found.judged[1::2]:
        assert line["word_errors"] >= 0.8 * line["words"]
        assert line["cos_target"] < 0.7
        assert line["f0_corr"] is None
    assert len(read_lines(folder / "judged.jsonl")) == 4
