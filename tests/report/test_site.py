"""The report as a whole: what is refused before anything is removed, and what an interrupted one leaves."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.report import made_up, made_up_sources
from tests.report.test_demo_page import Page
from vcpipe.errors import InputError
from vcpipe.report import site, sources
from vcpipe.report.site import write_site
from vcpipe.report.sources import Timing, concerning

HOSTILE = "</script><img src=x onerror=alert(1)> & \"q\" 'a'"


def write(out: Path, results: Path, rows: list[Path] | None = None) -> Path:
    audio = results / "audio" / made_up.COPY / made_up.CORPUS
    overview = results / "evaluation" / "overview.json"
    given = made_up.rows(results) if rows is None else rows
    return write_site(out, given, overview, audio, made_up.AUDIO_SLICE, results, results.parent / "logs", made_up.SEXES)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    out = made_up.results(folder, 4, 6, label=HOSTILE)
    made_up_sources.run(out)
    made_up_sources.stats(out)
    made_up_sources.logs(folder)
    return out


@pytest.fixture(scope="module")
def out(results: Path) -> Path:
    return write(results.parent / "report", results).parent


@pytest.fixture
def copied(results: Path, tmp_path: Path) -> Path:
    """The results, to be damaged."""
    return Path(shutil.copytree(results, tmp_path / "results"))


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def pages(out: Path) -> list[Path]:
    return sorted(page for page in out.rglob("*.html") if "corpora" not in page.parts)


def test_every_link_leads_somewhere_and_none_out_of_the_site(out: Path) -> None:
    assert [str(page.relative_to(out)) for page in pages(out)] == [
        "failures.html",
        "index.html",
        "listen.html",
        *(f"systems/{row}.html" for row in ("knnvc", "linearvc", "recordings", "source")),
    ]
    for file in pages(out):
        page = Page(file.read_text(encoding="utf-8"))
        assert page.open == []
        ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
        assert len(ids) == len(set(ids))
        for attrs in page.all("a"):
            if href := attrs.get("href"):
                target, _, anchor = href.partition("#")
                found = (file.parent / target.partition("?")[0]).resolve() if target else file
                assert found.is_file() and found.is_relative_to(out.resolve()), (file, href)
                assert target or anchor in ids, (file, href)


def test_nothing_comes_from_elsewhere(out: Path) -> None:
    for file in pages(out):
        assert not re.search(r"https?:|src=.//|href=.//|@import|url\(", file.read_text(encoding="utf-8")), file


def test_a_name_that_is_markup_is_text_on_every_page(out: Path) -> None:
    for file in pages(out):
        page = Page(file.read_text(encoding="utf-8"))
        assert not any(attrs.get("src") == "x" or "onerror" in attrs for _, attrs in page.tags), file
    assert HOSTILE in Page((out / "systems" / "knnvc.html").read_text(encoding="utf-8")).text


def test_the_same_results_give_the_same_pages(results: Path, out: Path, tmp_path: Path) -> None:
    again = write(tmp_path / "again", results).parent
    for file in pages(out):
        assert file.read_bytes() == (again / file.relative_to(out)).read_bytes()


def test_the_files_behind_the_figures_are_there(results: Path, out: Path) -> None:
    for row in ("knnvc", "recordings"):
        for name in ("protocol.json", "metrics.json", "judged.jsonl"):
            there = out / "data" / f"{row}.{name}"
            assert there.read_bytes() == (results / "demo" / row / name).read_bytes()
    assert (out / "corpora" / made_up.COPY / made_up.CORPUS / "speakers.csv").is_file()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("no_protocol", "protocol"),
        ("other_protocol", "made under the protocol"),
        ("old_overview", "figures of row linearvc"),
        ("other_digest", "row linearvc: expected the protocol of its metrics.json"),
        ("converted_again", "figures of another conversion"),
        ("shard_gone", "001.h5"),
        ("other_rows", "expected the rows"),
        ("no_overview", "expected the table"),
        ("torn_overview", "damaged"),
        ("renamed", "as its folder is called"),
    ],
)
def test_what_cannot_be_shown_is_refused_and_the_report_before_stays(copied: Path, damage: str, words: str) -> None:
    out = copied.parent / "report"
    for page in ("index.html", "systems/linearvc.html", "media/sound.wav"):
        (out / page).parent.mkdir(parents=True, exist_ok=True)
        (out / page).write_text("before")
    row, overview = copied / "demo" / "linearvc", copied / "evaluation" / "overview.json"
    if damage == "no_protocol":
        (row / "protocol.json").unlink()
    elif damage == "other_protocol":
        edit(row / "protocol.json", enrolment=11)
    elif damage == "old_overview":
        table = json.loads(overview.read_text())
        next(r for r in table["rows"] if r["row"] == "linearvc")["measures"]["wer"]["value"] = 0.0
        overview.write_text(json.dumps(table))
    elif damage == "other_digest":
        table = json.loads(overview.read_text())
        next(r for r in table["rows"] if r["row"] == "linearvc")["protocol"] = "00" * 32
        overview.write_text(json.dumps(table))
    elif damage == "converted_again":
        edit(row / "system.json", settings={"method": "linearvc", "topk": 8})
    elif damage == "shard_gone":
        (copied / "audio" / made_up.COPY / made_up.CORPUS / "001.h5").unlink()
    elif damage == "other_rows":
        edit(overview, rows=json.loads(overview.read_text())["rows"][1:])
    elif damage == "no_overview":
        overview.unlink()
    elif damage == "torn_overview":
        overview.write_text(overview.read_text()[:-20])
    elif damage == "renamed":
        row.rename(row.with_name("other"))
    rows = [copied / "demo" / ("other" if damage == "renamed" and r.name == "linearvc" else r.name)
            for r in (copied / "demo" / name for name, _, _ in made_up.ROWS[:4])]  # fmt: skip
    with pytest.raises(InputError, match=words):
        write(out, copied, rows)
    there = [path for path in sorted(out.rglob("*")) if path.is_file()]
    assert [path.name for path in there] == ["index.html", "sound.wav", "linearvc.html"]
    assert {path.read_text() for path in there} == {"before"}


def test_a_shard_that_was_left_by_an_earlier_number_of_shards_is_not_opened(copied: Path) -> None:
    (copied / "audio" / made_up.COPY / made_up.CORPUS / "002.h5").write_bytes(b"of an earlier slice")
    assert write(copied.parent / "report", copied).is_file()


def test_an_interrupted_report_has_no_front_page_and_no_old_one(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = copied.parent / "report"
    write(out, copied)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(site, "write_failures_page", stop)
    with pytest.raises(KeyboardInterrupt):
        write(out, copied)
    assert [str(page.relative_to(out)) for page in pages(out)] == ["listen.html"]


def test_a_row_that_is_gone_has_no_page_any_more(copied: Path) -> None:
    out = copied.parent / "report"
    write(out, copied)
    table = json.loads((copied / "evaluation" / "overview.json").read_text())
    edit(copied / "evaluation" / "overview.json", rows=table["rows"][:2], comparisons=[])
    write(out, copied, made_up.rows(copied)[:2])
    assert sorted(page.stem for page in (out / "systems").iterdir()) == ["knnvc", "recordings"]
    assert not list((out / "data").glob("linearvc*"))


def test_jobs_of_other_rows_and_runs_are_not_counted_and_shared_ones_are(tmp_path: Path) -> None:
    found = sources.timings(made_up_sources.logs(tmp_path))
    names = ["knnvc", "linearvc", "recordings", "hifigan", "hifigan_prematched"]
    jobs = concerning(found, ["knnvc", "hifigan_prematched"], names)
    assert [(job.rule, job.of) for job in jobs[:3]] == [
        ("judge", "knnvc"),
        ("render", "knnvc"),
        ("train_hifigan_prematched", ""),
    ]
    assert {(job.rule, job.shard) for job in jobs[3:]} == {
        (rule, shard) for rule in ("extract", "prematch", "prepare_audio") for shard in ("000", "001")
    }
    assert jobs[2].seconds == 584.17 and jobs[2].peak_mib == 781.32


def test_a_benchmark_without_numbers_is_left_out_or_has_no_memory(tmp_path: Path) -> None:
    logs = made_up_sources.logs(tmp_path)
    (logs / "running.tsv").write_text("")
    (logs / "header.tsv").write_text("s\tmax_rss\n")
    found = sources.timings(logs)
    assert not {"running", "header"} & {job.rule for job in found}
    assert Timing("judge", "recordings", "", 3.0, None) in found
    assert sources.timings(tmp_path / "none") == []


def test_statistics_without_the_recordings_they_are_of_are_not_shown(copied: Path) -> None:
    assert [corpus.name for corpus in sources.corpora(copied)] == [made_up.CORPUS]
    for shard in (copied / "audio" / made_up.COPY / made_up.CORPUS).glob("*.h5"):
        shard.unlink()
    assert sources.corpora(copied) == []


def test_losses_are_read_by_name_and_a_damaged_table_is_refused(tmp_path: Path) -> None:
    run = made_up_sources.run(tmp_path)
    losses = sources.learning(run)
    assert list(losses) == ["loss", "mel", "stft"] and set(losses["mel"]) == {"train", "valid"}
    assert set(losses["stft"]) == {"valid"} and losses["loss"]["train"][0][0] == 50
    (run / "metrics.csv").write_text("step,name,value\n50,train/loss,no number\n")
    with pytest.raises(InputError, match=r"metrics\.csv"):
        sources.learning(run)
