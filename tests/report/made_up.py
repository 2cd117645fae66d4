"""Results that nobody measured: rows as `vcpipe evaluate` leaves them, with recordings, so that pages can be made."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from vcpipe import results as rows_on_disk
from vcpipe.grid import Grid
from vcpipe.manifest import Utterance, shard_names, write_lines, write_table
from vcpipe.store import write_shard

RATE = 16000
COPY, CORPUS, SHARDS = "16k", "demo", shard_names(2)
AUDIO_SLICE: dict[str, Any] = {"stage": "audio", "rate": RATE, "shards": len(SHARDS), "made_up": True}
VOCODER = {"revision": 1, "step": 1600, "checksum": "cdb732f6aaaf529db2bd19fd68e7990a"}
SEXES = {"ana": "f", "ben": "m", "cleo": "f", "dan": "m", "emma": "f", "finn": "m", "gwen": "f", "hugo": "m"}
ROWS = (
    ("knnvc", "kNN-VC", "system"),
    ("recordings", "The recordings themselves", "reference"),
    ("linearvc", "LinearVC", "baseline"),
    ("source", "Source unchanged", "reference"),
    ("knnvc_plain", "kNN-VC, plain vocoder", "system"),
    ("noise", "White noise", "reference"),
    ("knnvc_smooth", "kNN-VC, smooth along time", "system"),
    ("resynthesis", "Vocoder resynthesis", "reference"),
    ("shift", "Speaker-mean shift", "baseline"),
    ("world", "WORLD pitch and envelope", "baseline"),
    ("knnvc_k8", "kNN-VC, k = 8", "system"),
    ("same_speaker", "Same speaker to itself", "reference"),
)
TEXTS = (
    "The captain looked at the dark clouds and decided to wait in the harbor.",
    "She cleaned the whole house before her parents came to visit.",
    "Nobody knew why the lamp had been burning since the morning.",
    "A small boat crossed the lake without a sound.",
)
# rate: errors and units of a judged line; else the key of its value
KEYS: dict[str, tuple[str, ...]] = {
    "wer": ("word_errors", "words"),
    "cer": ("char_errors", "chars"),
    "wer_echo": ("echo_word_errors", "echo_words"),
    "cer_echo": ("echo_char_errors", "echo_chars"),
    **{
        name: (name,)
        for name in (
            *("cos_target", "cos_source", "nearer_to_target", "f0_corr", "f0_rmse_cents", "vuv_error", "energy_corr"),
            *("duration_ratio", "mcd_db", "dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak", "dnsmos_p808", "rtf"),
        )
    },
}


def results(
    folder: Path,
    n_rows: int = 3,
    n_pairs: int = 4,
    *,
    seconds: float = 0.3,
    speakers: Sequence[str] = tuple(SEXES),
    text: bool = True,
    label: str = "",
    system: dict[str, Any] | None = None,
) -> Path:
    """Writes `folder`/results: `demo/<row>/`, `evaluation/overview.json`, `audio/16k/demo/`; returns that folder.

    Args:
        folder: made if need be.
        n_rows: of `ROWS`, from the first.
        n_pairs: trials, the same for every row.
        seconds: length of every recording.
        speakers: who speaks; at least two. `SEXES` knows those it begins with.
        text: whether anybody wrote down what is said.
        label: of the first row, instead of its own.
        system: keys of the first row's system.json, instead of its own.
    """
    out = folder / "results"
    trials = list(_trials(n_pairs, list(speakers), text))
    _recordings(out, trials, list(speakers), seconds)
    rows = []
    for number, (row, words, kind) in enumerate(ROWS[:n_rows]):
        own = {"label": label or words, **(system or {})} if number == 0 else {}
        rows.append(_row(out / "demo" / row, row, words, kind, number, trials, seconds, own))
    overview = {"rows": rows, "comparisons": list(_comparisons(rows)), "protocol": _shared(trials)}
    _json(out / "evaluation" / "overview.json", overview)
    return out


def rows(out: Path) -> list[Path]:
    """The folders of the rows, in the order of `ROWS`."""
    return [out / "demo" / row for row, _, _ in ROWS if (out / "demo" / row).is_dir()]


def tone(hz: float, seconds: float, seed: int = 0) -> NDArray[np.float32]:
    """`(N,)` float32: a buzz that swells, with some noise."""
    t = np.arange(round(seconds * RATE)) / RATE
    buzz = sum(np.sin(2 * np.pi * k * hz * t) / k for k in range(1, 8))
    noise = np.random.default_rng(seed).normal(0, 0.005, len(t))
    return (0.15 * buzz * np.sin(2 * np.pi * 2.5 * t) ** 2 + noise).astype(np.float32)


def write(path: Path, wave: NDArray[np.float32]) -> None:
    """A 16-bit wav; without the care that a result would need, for there may be thousands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.clip(wave, -1, 1), RATE, subtype="PCM_16")


def _trials(n_pairs: int, speakers: list[str], text: bool) -> Iterator[dict[str, Any]]:
    n = len(speakers)
    for i in range(n_pairs):
        source, target = speakers[i % n], speakers[(i + 1 + i // n % (n - 1)) % n]
        sentence = i // (n * (n - 1))  # the same pair of speakers again says something else
        yield {
            "source_utt": f"{source}/{sentence:03d}",
            "source_speaker": source,
            "source_split": "test",
            "target_speaker": target,
            "references": [f"{target}/ref{r}" for r in range(2)],
            "reference_utt": f"{target}/ref0",
            "text": TEXTS[(speakers.index(source) + sentence) % len(TEXTS)] if text else "",
            "seed": i,
        }


def _recordings(out: Path, trials: list[dict[str, Any]], speakers: list[str], seconds: float) -> None:
    said = {t["source_utt"]: (t["source_speaker"], t["text"]) for t in trials}
    said.update({r: (t["target_speaker"], "") for t in trials for r in t["references"]})
    folder = out / "audio" / COPY / CORPUS
    table = [
        Utterance(utt, who, f"{utt}.wav", round(seconds * RATE), RATE, words, split="test")
        for utt, (who, words) in sorted(said.items())
    ]
    write_table(folder / "manifest.csv", table, Utterance)
    for number, name in enumerate(SHARDS):
        mine = [u for u in table if speakers.index(u.speaker) % len(SHARDS) == number]
        waves = ((u.utt_id, tone(100 + 20 * speakers.index(u.speaker), seconds)[:, None]) for u in mine)
        write_shard(
            folder / f"{name}.h5", waves, made_by=AUDIO_SLICE, grid=Grid(RATE, 1), dim=1, dtype="float32", row="frame"
        )


def _row(
    folder: Path,
    row: str,
    label: str,
    kind: str,
    number: int,
    trials: list[dict[str, Any]],
    seconds: float,
    own: dict[str, Any],
) -> dict[str, Any]:
    system = {
        "row": row,
        "system": row.split("_")[0],
        "label": label,
        "kind": kind,
        "about": f"Made up for a test; it stands for {label[0].lower()}{label[1:]}.",
        "parameters": None if kind == "reference" else 4_200_000 + number,
        "model_mib": None if kind == "reference" else 16.2 + number,
        "peak_mib": 640.0 + 10 * number,
        "device": "cpu",
        "threads": 2,
        "speaker_encoder": None,
        "models": {} if kind == "reference" else {"match": {"kind": "made_up", "layer": 6}, "vocoder": VOCODER},
        "settings": {} if kind == "reference" else {"method": row, "topk": 4, "pool": {"weights": "none"}},
        "run": "" if kind == "reference" else "results/runs/hifigan_prematched",
        **own,
    }
    rng = np.random.default_rng(number)
    pairs, judged = [], []
    for i, trial in enumerate(trials):
        name = f"{trial['source_utt']}-as-{trial['target_speaker']}".replace("/", "-")
        pairs.append(
            {
                "name": name,
                "row": row,
                "system": system["system"],
                **trial,
                "reference_s": 2 * seconds,
                "converted": f"audio/{name}.wav",
                "settings": system["settings"],
                "seconds": seconds,
                "rtf": round(0.05 + 0.01 * number + 0.001 * float(rng.random()), 6),
                "vcpipe": "0.0",
            }
        )
        judged.append(_verdict(pairs[-1], number, rng))
        write(folder / "audio" / f"{name}.wav", tone(90 + 15 * number + i % 7, seconds, seed=i))
    listed = rows_on_disk.trials(pairs)
    protocol = {
        **_shared(trials),
        "format": rows_on_disk.FORMAT,
        "row": row,
        "system": {key: system[key] for key in ("system", "speaker_encoder", "models", "settings")},
        "trials": {"n": len(pairs), "digest": rows_on_disk.digest(listed), "list": listed},
    }
    measures = {name: _summed(judged, keys) for name, keys in KEYS.items()}
    measures["eer"] = {"value": 0.1 + 0.02 * number, "low": 0.05, "high": 0.3 + 0.02 * number, "n": len(judged)}
    measures = {name: found for name, found in measures.items() if found}
    costs = {key: system[key] for key in ("peak_mib", "model_mib", "parameters")}
    genuine = [
        {"speaker": speaker, "utt": utt, "cos": 0.9}
        for utt, speaker in sorted({p["source_utt"]: p["source_speaker"] for p in pairs}.items())
    ]
    metrics = {"row": row, "n": len(judged), "measures": measures, "genuine": genuine, "costs": costs}
    write_lines(folder / "pairs.jsonl", pairs)
    write_lines(folder / "judged.jsonl", judged)
    _json(folder / "system.json", system)
    _json(folder / "protocol.json", protocol)
    digest = rows_on_disk.digest(protocol)
    _json(folder / "metrics.json", {**metrics, "protocol": digest})
    said = {key: system[key] for key in ("row", "label", "kind", "about", "system")}
    return {**said, "n": len(judged), "measures": measures, "costs": costs, "protocol": digest}


def _verdict(pair: dict[str, Any], number: int, rng: np.random.Generator) -> dict[str, Any]:
    said = pair["text"].rstrip(".").lower().split()
    got = ["lamb" if rng.random() < 0.02 + 0.03 * number else word for word in said] or [
        "nobody",
        "wrote",
        "this",
        "down",
    ]
    wrong = sum(a != b for a, b in zip(said, got, strict=False))
    words, chars = len(said), len(" ".join(said))
    near = float(np.clip(0.86 - 0.02 * number + rng.normal(0, 0.03), 0, 1))
    far = float(np.clip(0.55 + 0.02 * number + rng.normal(0, 0.03), 0, 1))
    return {
        "name": pair["name"],
        "source_utt": pair["source_utt"],
        "source_speaker": pair["source_speaker"],
        "target_speaker": pair["target_speaker"],
        "text": pair["text"],
        "hypothesis": " ".join(got),
        "source_hypothesis": " ".join(said) or "nobody wrote this down",
        "word_errors": wrong,
        "words": words,
        "char_errors": 3 * wrong,
        "chars": chars,
        "echo_word_errors": wrong,
        "echo_words": words or 4,
        "echo_char_errors": 3 * wrong,
        "echo_chars": chars or 22,
        "source_word_errors": 0,
        "source_char_errors": 0,
        "cos_target": near,
        "cos_source": far,
        "nearer_to_target": near > far,
        "f0_corr": float(0.9 - 0.03 * rng.random()) if rng.random() > 0.02 else None,
        "f0_rmse_cents": float(60 + 80 * rng.random()),
        "vuv_error": float(0.1 * rng.random()),
        "energy_corr": float(0.95 - 0.05 * rng.random()),
        "duration_ratio": float(1 + 0.02 * rng.normal()),
        "mcd_db": float(6 + rng.random()) if pair["text"] else None,
        "dnsmos_ovrl": float(3 - 0.05 * number + 0.2 * rng.random()),
        "dnsmos_sig": float(3.3 + 0.2 * rng.random()),
        "dnsmos_bak": float(3.8 + 0.2 * rng.random()),
        "dnsmos_p808": float(3.4 + 0.2 * rng.random()),
        "rtf": pair["rtf"],
        "reference_s": pair["reference_s"],
    }


def _summed(judged: list[dict[str, Any]], keys: tuple[str, ...]) -> dict[str, Any]:
    """The value over all pairs, with an interval that is as wide as one looks; nothing where nothing was measured."""
    rows = [[float(j[key]) for key in keys] for j in judged if all(j[key] is not None for key in keys)]
    if not rows or (len(keys) == 2 and not sum(units for _, units in rows)):
        return {}
    each = np.array([row[0] / max(row[-1], 1) if len(keys) == 2 else row[0] for row in rows])
    value = sum(row[0] for row in rows) / sum(row[1] for row in rows) if len(keys) == 2 else float(each.mean())
    half = 2 * float(each.std()) / len(each) ** 0.5
    return {"value": value, "low": value - half, "high": value + half, "n": len(rows)}


def _comparisons(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    ours = [row for row in rows if row["kind"] != "reference"]
    for i, a in enumerate(ours):
        for b in ours[i + 1 :]:
            for measure in ("wer", "cos_target", "dnsmos_ovrl"):
                if measure in a["measures"] and measure in b["measures"]:
                    difference = a["measures"][measure]["value"] - b["measures"][measure]["value"]
                    p = min(1.0, 0.0004 * 2 ** (i + len(measure) % 5))
                    yield {
                        "a": a["row"],
                        "b": b["row"],
                        "measure": measure,
                        "difference": difference,
                        "low": difference - 0.02,
                        "high": difference + 0.02,
                        "p": p,
                        "p_holm": min(1.0, 3 * p),
                        "n": a["n"],
                    }


def _shared(trials: list[dict[str, Any]]) -> dict[str, Any]:
    """What all rows were judged by."""

    def judge(name: str, **settings: Any) -> dict[str, Any]:
        return {"name": name, "package": "made-up", "version": "1.2.3", "sha256": "ab" * 32, "settings": settings}

    return {
        "trials": {"n": len(trials), "digest": "0123456789abcdef0123456789abcdef"},
        "asr": judge("whisper_tiny_en", beam=1, language="en"),
        "verifier": judge("ge2e"),
        "quality": {"dnsmos": judge("dnsmos")},
        "normaliser": {"package": "whisper-normalizer", "version": "0.1.12"},
        "enrolment": 10,
        "f0": {"method": "praat", "revision": 1},
        "versions": {"vcpipe": "0.0", "torch": "2.9.0", "numpy": "2.3.4"},
        "slice": {"stage": "judge", "revision": 2, "judge": {"seed": 0, "resamples": 2000}, "wav": AUDIO_SLICE},
    }


def _json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
