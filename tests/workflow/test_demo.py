"""From recordings to the demo page and a converted voice, as a user types it, with tiny networks."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import soundfile

from tests.conftest import RATE, tone
from tests.workflow.project import Project


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("demo 'project'"))
    project.snakemake("train_hifigan", "demo")
    return project


def convert(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vcpipe", "convert", "--system", "knnvc", *arguments]
    return subprocess.run(command, cwd=project.folder, capture_output=True, text=True, timeout=120)


def test_the_page_the_metrics_and_every_recording_are_there(finished: Project) -> None:
    demo = finished.folder / "results" / "demo" / "knnvc"
    lines = [json.loads(line) for line in (demo / "pairs.jsonl").read_text().splitlines()]
    metrics = json.loads((demo / "metrics.json").read_text())
    assert len(lines) == metrics["n"] == 2
    assert "wer" not in metrics["measures"] and 0 <= metrics["measures"]["nearer_to_target"]["value"] <= 1
    page = (demo / "index.html").read_text()
    recordings = re.findall(r'src="(audio/[^"]+)"', page)
    assert len(recordings) == 3 * len(lines)
    for recording in [*recordings, *(line["converted"] for line in lines)]:
        assert soundfile.info(demo / recording).samplerate == RATE
    assert all(line["source_speaker"] != line["target_speaker"] for line in lines)


def test_all_rows_are_judged_and_reported(finished: Project) -> None:
    assert "kNN-VC" in finished.snakemake("report")  # the table, for whoever looks on
    results = finished.folder / "results"
    overview = json.loads((results / "evaluation" / "overview.json").read_text())
    rows = {row["row"] for row in overview["rows"]}
    own = {"knnvc", "knnvc_resynthesis", "knnvc_same_speaker", "mean_shift", "world"}
    assert rows == own | {"recordings", "source", "noise"}
    for page in ("index", "listen", "failures", *(f"systems/{row}" for row in rows)):
        assert (results / "report" / f"{page}.html").is_file()
    assert "Nothing to be done" in finished.snakemake("report")


def test_the_summary_says_where_things_are(finished: Project) -> None:
    command = [sys.executable, "-m", "vcpipe", "demo-summary"]
    done = subprocess.run(command, cwd=finished.folder, capture_output=True, text=True, check=True)
    for path in ("results/demo/knnvc/index.html", "results/demo/knnvc/metrics.json", "results/runs/hifigan_prematched"):
        assert path in done.stdout


def test_a_finished_demo_runs_nothing_again(finished: Project) -> None:
    assert "Nothing to be done" in finished.snakemake("demo")


@pytest.mark.parametrize("run", ["hifigan", "hifigan_prematched"])
def test_a_recording_is_converted_with_a_json_line(finished: Project, run: str) -> None:
    run = f"results/runs/{run}"
    wave = tone(1.3)
    soundfile.write(finished.folder / "talk.flac", wave, RATE)
    out = finished.folder / f"converted {run[-10:]}"
    arguments = ["--run", run, "--source", "talk.flac", "--reference", str(finished.corpus / "spk1")]
    done = convert(finished, *arguments, "--out", str(out), "--topk", "3", "--alpha", "0.1")
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout)
    assert line == json.loads((out / "converted.jsonl").read_text())
    assert line["settings"]["topk"] == 3 and line["rtf"] > 0 and line["features"]["match"]["revision"] == 1
    samples, rate = soundfile.read(out / "talk.wav")
    assert rate == RATE and len(samples) == len(wave) // 320 * 320


def test_a_run_of_other_code_or_a_damaged_one_is_refused(finished: Project) -> None:
    run, copy = finished.folder / "results/runs/hifigan", finished.folder / "copy"
    arguments = [
        "--run",
        "copy",
        "--source",
        str(finished.corpus / "spk0"),
        "--reference",
        str(finished.corpus / "spk1"),
    ]

    shutil.copytree(run, copy)
    info = json.loads((copy / "config.json").read_text())
    info["slice"]["features"]["match"]["revision"] = 0
    (copy / "config.json").write_text(json.dumps(info))
    done = convert(finished, *arguments, "--out", "out")
    assert done.returncode == 2 and "made by revision 0" in done.stderr and "Traceback" not in done.stderr

    shutil.copy(run / "config.json", copy)
    data = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(data[: len(data) // 2])
    done = convert(finished, *arguments, "--out", "out")
    assert done.returncode == 2 and "model.safetensors" in done.stderr and "Traceback" not in done.stderr


def test_a_killed_workflow_is_finished_by_the_same_command(
    finished: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    project = Project(tmp_path_factory.mktemp("killed"))
    project.write_config()
    process = subprocess.Popen(
        project.command("train_hifigan_prematched"),
        cwd=project.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not list(project.folder.glob("results/features/tiny/*/*.h5")) and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (project.folder / "results/runs/hifigan_prematched/model.safetensors").exists()
    project.snakemake("--unlock")
    project.snakemake("train_hifigan_prematched")
    for name in ("audio/16k/mine/000.h5", "features/tiny/mine/001.h5", "features/prematched/mine/001.h5"):
        assert (project.folder / "results" / name).read_bytes() == (finished.folder / "results" / name).read_bytes()
    assert not list(project.folder.rglob("*.tmp"))
