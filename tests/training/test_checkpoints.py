"""A run's state survives kills, full and vanished disks, and no flipped bit goes unseen."""

import contextlib
import errno
import json
import os
import random
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from vcpipe.errors import InputError
from vcpipe.training import checkpoints
from vcpipe.training.sealed import digest, seal, unseal

SIZES = [0, 1, 8, 0.25, 0.5, 0.999]


def parts(step: int) -> dict[str, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(step)
    weights = torch.randn(40, 9, generator=generator)
    model = {
        "weights": weights,
        "tied": weights,
        "turned": weights.T,
        "half": weights.to(torch.bfloat16),
        "count": torch.tensor(step),
        "none": torch.empty(0, 3),
    }
    return {"model": model, "rng": {"cpu": generator.get_state(), "flags": torch.tensor([True, False])}}


def note(step: int) -> dict[str, Any]:
    return {"best": float("inf"), "lr": 0.1 + step * 1e-9, "names": ["日本語", None]}


def save(at: Path, step: int, **extra: Any) -> Path:
    return checkpoints.save(at, step, note(step), {**parts(step), **extra})


def loaded(at: Path) -> int:
    """The step of what is loaded, of which every bit is as it was saved; 0 for none."""
    found = checkpoints.load(at)
    if found is None:
        return 0
    assert found.note == note(found.step)
    for name, tensors in parts(found.step).items():
        assert found.tensors(name).keys() == tensors.keys()
        for key, tensor in tensors.items():
            other = found.tensors(name)[key]
            assert other.dtype == tensor.dtype and other.shape == tensor.shape and torch.equal(other, tensor), key
    return found.step


def names(at: Path) -> list[str]:
    return sorted(path.name for path in at.iterdir())


def kept(*steps: int) -> list[str]:
    return ["latest", *(f"step-{step:012d}" for step in steps)]


@pytest.fixture(autouse=True)
def flushes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what was flushed; it is not, for time: a process that is killed loses nothing of its disk."""
    done: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda number: done.append(os.readlink(f"/proc/self/fd/{number}")))
    return done


@pytest.fixture
def at(tmp_path: Path) -> Path:
    """With checkpoints of steps 100 and 200."""
    folder = tmp_path / "run"
    folder.mkdir()
    save(folder, 100)
    save(folder, 200)
    return folder


def test_a_checkpoint_is_read_as_it_was_written_and_two_are_kept(tmp_path: Path) -> None:
    assert checkpoints.load(tmp_path / "none") is None
    assert checkpoints.load(tmp_path) is None
    previous = None
    for step in (5, 1200, 1300, 2000):
        previous = checkpoints.save(tmp_path, step, note(step), parts(step), previous)
        assert loaded(tmp_path) == step
    assert names(tmp_path) == kept(1300, 2000)
    assert names(previous) == ["manifest.json", "model.safetensors", "rng.safetensors", "state.json"]
    with pytest.raises(InputError, match="expected a part 'ema', found model, rng"):
        checkpoints.load(tmp_path).tensors("ema")


def test_all_is_flushed_before_it_gets_its_name(at: Path, monkeypatch, flushes: list[str]) -> None:
    replace = os.replace

    def renamed(source: Path, target: Path) -> None:
        flushes.append(f"-> {target}")
        replace(source, target)

    monkeypatch.setattr(os, "replace", renamed)
    flushes.clear()
    new, writing = save(at, 300), at / ".writing.step-000000000300"
    files = [f"{writing}/{name}" for name in ("state.json", "model.safetensors", "rng.safetensors", "manifest.json")]
    latest = f"{at}/.latest.{os.getpid()}.tmp"
    assert list(dict.fromkeys(flushes[:-1])) == [*files, str(writing), f"-> {new}", str(at), latest, f"-> {at}/latest"]
    assert flushes[-1] == str(at)


def test_other_files_of_the_folder_stay(at: Path) -> None:
    (at / "live").mkdir()
    (at / "last.safetensors").write_bytes(b"weights")
    save(at, 300)
    assert names(at) == ["last.safetensors", *kept(200, 300)[:1], "live", *kept(200, 300)[1:]]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["state.json", "model.safetensors", "rng.safetensors", "manifest.json", "latest"])
def test_a_truncated_file_is_seen_and_the_previous_checkpoint_used(at, caplog, name, size) -> None:
    path = at / name if name == "latest" else at / "step-000000000200" / name
    whole = path.stat().st_size
    os.truncate(path, size if isinstance(size, int) else min(int(size * whole), whole - 1))
    assert loaded(at) == (200 if name == "latest" else 100)
    assert path.name in caplog.text and "expected" in caplog.text and "found" in caplog.text
    assert f"goes on from step {loaded(at)}" in caplog.text


def test_every_flipped_bit_is_seen(at: Path, caplog: pytest.LogCaptureFixture) -> None:
    chance = random.Random(0)
    files = [at / "latest", *sorted((at / "step-000000000200").iterdir())]
    for _ in range(500):
        path = chance.choice(files)
        good = path.read_bytes()
        bit = chance.randrange(8 * len(good))
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bad)
        caplog.clear()
        assert loaded(at) == (200 if path.name == "latest" else 100), f"bit {bit} of {path.name}"
        assert path.name in caplog.text, f"bit {bit} of {path.name}"
        path.write_bytes(good)
    caplog.clear()
    assert loaded(at) == 200 and not caplog.text


def test_latest_that_names_an_older_good_folder_is_seen(at: Path, caplog: pytest.LogCaptureFixture) -> None:
    latest = unseal(at / "latest") | {"folder": "step-000000000100"}
    (at / "latest").write_bytes((at / "latest").read_bytes().replace(b"0200", b"0100"))
    assert loaded(at) == 200 and "latest" in caplog.text
    caplog.clear()
    (at / "latest").write_bytes(seal(latest))
    assert loaded(at) == 200 and "latest expected the manifest" in caplog.text


def test_latest_that_is_missing_or_names_nothing_is_said(at: Path, caplog: pytest.LogCaptureFixture) -> None:
    (at / "latest").unlink()
    assert loaded(at) == 200 and "latest: expected a file, found none" in caplog.text
    for name in ("step-000000000300", "../run/step-000000000200", "", "."):
        (at / "latest").write_bytes(seal({"format": checkpoints.FORMAT, "folder": name, "manifest": ""}))
        caplog.clear()
        assert loaded(at) == 200 and "expected the name of a checkpoint" in caplog.text


def test_a_file_too_many_or_too_few_is_damage(at: Path, caplog: pytest.LogCaptureFixture) -> None:
    newest = at / "step-000000000200"
    (newest / "extra.bin").write_bytes(b"x")
    assert loaded(at) == 100 and "extra.bin: expected no such file" in caplog.text
    (newest / "extra.bin").unlink()
    (newest / "rng.safetensors").rename(at / "rng")
    assert loaded(at) == 100 and "rng.safetensors: expected a file, found none" in caplog.text
    for put in (os.mkfifo, os.mkdir, lambda path: os.symlink(at / "rng", path)):
        put(newest / "rng.safetensors")
        caplog.clear()
        assert loaded(at) == 100 and "rng.safetensors" in caplog.text
        (os.rmdir if put is os.mkdir else os.unlink)(newest / "rng.safetensors")
    (at / "rng").rename(newest / "rng.safetensors")
    newest.rename(at / "step-000000000250")
    caplog.clear()
    assert loaded(at) == 100 and "expected that of step-000000000250, found that of step-000000000200" in caplog.text


def test_when_all_are_damaged_the_training_does_not_start_afresh(at: Path) -> None:
    for step in (100, 200):
        os.truncate(at / f"step-{step:012d}" / "model.safetensors", 50)
    with pytest.raises(InputError) as error:
        checkpoints.load(at)
    for word in ("step-000000000100/model", "step-000000000200/model", f"type `rm -r {at}`", "found 50 bytes"):
        assert word in str(error.value)
    for step in (100, 200):
        shutil.rmtree(at / f"step-{step:012d}")
    with pytest.raises(InputError, match="no checkpoint is good: .*latest"):
        checkpoints.load(at)


def test_what_was_never_completed_is_no_damage(at: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in (".writing.step-000000000300", ".gone.step-000000000050", ".old.nothing"):
        (at / name).mkdir()
        (at / name / "state.json").write_text("{")
    assert loaded(at) == 200 and not caplog.text
    save(at, 300)
    assert names(at) == kept(200, 300)


def test_a_file_that_is_as_it_was_written_but_lies_is_damage(at: Path, caplog: pytest.LogCaptureFixture) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4]}}).encode()
    folder = at / "step-000000000200"
    for content in (len(header).to_bytes(8, "little") + header + b"1234", b"\xff" * 64, b""):
        (folder / "rng.safetensors").write_bytes(content)
        manifest = unseal(folder / "manifest.json")
        manifest["files"]["rng.safetensors"] = {"size": len(content), "blake2b": digest(content)}
        (folder / "manifest.json").write_bytes(seal(manifest))
        caplog.clear()
        assert loaded(at) == 100 and "rng.safetensors" in caplog.text


def test_another_version_and_an_unreadable_file_are_refused_not_passed_over(at: Path, monkeypatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", "file")

    with monkeypatch.context() as patch, pytest.raises(InputError, match="cannot be read .*Permission denied"):
        patch.setattr(os, "fstat", refuse)
        checkpoints.load(at)
    monkeypatch.setattr(checkpoints, "FORMAT", "vcpipe-checkpoint-2")
    with pytest.raises(InputError, match="expected the format vcpipe-checkpoint-2, found vcpipe-checkpoint-1"):
        checkpoints.load(at)


@pytest.mark.parametrize("step", [150, 200, 250])
def test_after_damage_it_is_the_good_one_that_is_kept(at: Path, step: int) -> None:
    os.truncate(at / "step-000000000200" / "model.safetensors", 50)
    save(at, step)
    assert names(at) == kept(100, step)
    os.truncate(at / f"step-{step:012d}" / "model.safetensors", 50)
    assert loaded(at) == 100


# --- kills -----------------------------------------------------------------------------------------------------------

CALLS = [
    *((os, name) for name in ("mkdir", "open", "fsync", "replace", "rename", "unlink", "rmdir", "scandir")),
    (safetensors.torch, "save_file"),
    (shutil, "copyfile"),
]


class Killed(BaseException):
    pass


@contextlib.contextmanager
def killed_at(number: int, kill: Callable[[], object]) -> Iterator[list[str]]:
    """Kills before the call of this number that changes a disk; gives the names of those made."""
    made: list[str] = []

    def watched(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            made.append(call.__name__)
            if len(made) == number:
                kill()
            return call(*args, **kwargs)

        return wrapper

    with pytest.MonkeyPatch.context() as patch:
        for module, name in CALLS:
            patch.setattr(module, name, watched(getattr(module, name)))
        yield made


def killed_for_good(save_it: Callable[[], object], number: int) -> bool:
    """Whether a child that saves died at the call of this number; nothing of it is tidied up."""
    if (child := os.fork()) == 0:
        with contextlib.suppress(BaseException), killed_at(number, lambda: os._exit(9)):
            save_it()
            os._exit(0)
        os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9)
    return code == 9


def interrupted(save_it: Callable[[], object], number: int) -> bool:
    """Whether saving was broken off at this call by what no `except Exception` catches."""

    def kill() -> None:
        raise Killed

    with killed_at(number, kill):
        try:
            save_it()
        except Killed:
            return True
    return False


def copied(at: Path) -> object:
    return save(at, 300, best=at / "step-000000000200" / "model.safetensors")


CASES: dict[str, tuple[list[int], bool, Callable[[Path], object], set[int]]] = {
    "the first": ([], False, lambda at: save(at, 100), {0, 100}),
    "the third, with a copy": ([100, 200], False, copied, {200, 300}),
    "the same step again": ([100], False, lambda at: save(at, 100), {100}),
    "in place of a damaged one": ([100, 200], True, lambda at: save(at, 200), {100, 200}),
}


@pytest.mark.parametrize("how", [killed_for_good, interrupted])
@pytest.mark.parametrize("case", CASES)
def test_killed_at_any_call_the_old_or_the_new_checkpoint_is_there(tmp_path: Path, case: str, how) -> None:
    steps, damage, save_it, expected = CASES[case]
    before = tmp_path / "before"
    before.mkdir()
    for step in steps:
        save(before, step)
    if damage:
        os.truncate(before / "step-000000000200" / "model.safetensors", 50)
    number, seen = 0, set()
    while True:
        number += 1
        at = tmp_path / "at"
        shutil.copytree(before, at)
        if not how(lambda at=at: save_it(at), number):
            break
        seen.add(loaded(at))
        assert seen <= expected, f"killed at call {number}"
        assert all(len(names(folder)) >= 4 for folder in at.glob("step-*")), "half deleted, and like a damaged one"
        if number % 2:
            save_it(at)
        save(at, 400)
        assert loaded(at) == 400
        assert len(list(at.glob("step-*"))) == (2 if seen != {0} or number % 2 else 1)
        assert not list(at.glob(".*")), f"killed at call {number}"
        shutil.rmtree(at)
    assert number > 20 and seen == expected


# --- disks -----------------------------------------------------------------------------------------------------------


def said_in_a_child(do: Callable[[], object]) -> str:
    """What a forked child says when it is refused."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        with contextlib.suppress(BaseException):
            try:
                do()
            except InputError as error:
                os.write(writer, str(error).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as f:
        text = f.read().decode()
    os.waitpid(child, 0)
    return text


def mount(*args: object) -> None:
    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("only root can mount")
    done = subprocess.run(["mount", *map(str, args)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no mounts here: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB with checkpoints of steps 100 and 200."""
    place = tmp_path / "disk"
    place.mkdir()
    mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", place)
    try:
        save(place, 100)
        save(place, 200)
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=False, capture_output=True)


BIG = {"best": {"weights": torch.zeros(500_000)}}


def test_a_full_disk_leaves_the_old_state_and_names_what_is_needed(disk: Path) -> None:
    for _ in range(2):
        with pytest.raises(InputError) as error:
            save(disk, 300, **BIG)
        assert names(disk) == kept(100, 200)
        assert loaded(disk) == 200
    for word in (
        f"{disk}/step-000000000300",
        "No space left",
        "it needs up to 2010180 bytes, ",
        " are free",
        "intact",
        "make room",
    ):
        assert word in str(error.value)
    save(disk, 300)
    assert loaded(disk) == 300


def test_what_a_killed_process_left_does_not_fill_the_disk_for_ever(disk: Path) -> None:
    (disk / ".writing.step-000000000300").mkdir()
    with contextlib.suppress(OSError), open(disk / ".writing.step-000000000300" / "best", "wb", buffering=0) as f:
        while True:
            f.write(bytes(1 << 16))
    save(disk, 400)
    assert loaded(disk) == 400


@pytest.mark.parametrize("where", ["tensors", "latest"])
def test_a_limit_on_the_size_of_files_is_like_a_full_disk(at: Path, where: str) -> None:
    def limited() -> None:
        if where == "latest":
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
            checkpoints.save(at, 300, {}, {})
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        save(at, 300, **BIG)

    said = said_in_a_child(limited)
    assert "File too large" in said and "ulimit -f" in said and "intact" in said and str(at) in said
    assert loaded(at) == 200 and names(at) == kept(100, 200)


def test_a_read_only_disk_is_said(disk: Path) -> None:
    mount("-o", "remount,ro", disk)
    with pytest.raises(InputError, match="Read-only file system.*intact .*make the folder writable"):
        save(disk, 300)
    assert loaded(disk) == 200
    mount("-o", "remount,rw", disk)
    save(disk, 300)
    assert loaded(disk) == 300


@pytest.mark.parametrize("name", ["mkdir", "fsync", "rename", "replace"])
@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EDQUOT, errno.ENOSPC, errno.ESTALE, errno.EIO])
def test_an_error_of_the_disk_is_told_in_a_line(at: Path, monkeypatch, name: str, number: int) -> None:
    def fail(path: object, *_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch, pytest.raises(InputError) as error:
        patch.setattr(os, name, fail)
        save(at, 200)
    assert os.strerror(number) in str(error.value) and "step-000000000100" in str(error.value)
    assert loaded(at) == 200 and names(at) == kept(100, 200)


def test_checkpoints_that_cannot_be_deleted_do_not_stop_the_training(at: Path, monkeypatch, caplog) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", fail)
        save(at, 300)
    assert "saved, but what was there before cannot be deleted" in caplog.text
    assert loaded(at) == 300
    save(at, 400)
    assert names(at) == kept(300, 400)


def test_a_folder_that_is_gone_is_not_made_again(at: Path) -> None:
    previous = at / "step-000000000200"
    shutil.rmtree(at)
    with pytest.raises(InputError, match="cannot be seen now; see whether its disk is mounted"):
        save(at, 300)
    assert not at.exists()
    at.mkdir()
    with pytest.raises(InputError, match="see whether its disk is mounted"):
        checkpoints.save(at, 300, note(300), parts(300), previous)
    assert not names(at)


def test_a_mount_that_vanishes_keeps_its_state(at: Path, tmp_path: Path) -> None:
    place = tmp_path / "mounted"
    place.mkdir()
    mount("--bind", at, place)
    try:
        previous = checkpoints.save(place, 300, note(300), parts(300))
    finally:
        subprocess.run(["umount", "-l", place], check=True)
    with pytest.raises(InputError, match="No such file.*see whether its disk is mounted"):
        checkpoints.save(place, 400, note(400), parts(400), previous)
    assert not names(place)
    assert loaded(at) == 300


# --- parts of earlier checkpoints ------------------------------------------------------------------------------------


def test_a_part_of_an_earlier_checkpoint_is_copied(at: Path) -> None:
    """And not linked: one damaged file must not be that of two checkpoints."""
    source = checkpoints.load(at).path("model")
    save(at, 300, best=source)
    found = checkpoints.load(at)
    assert found.step == 300
    assert torch.equal(found.tensors("best")["weights"], parts(200)["model"]["weights"])
    assert not source.samefile(found.path("best"))
    save(at, 400, best=found.path("best"))
    assert torch.equal(checkpoints.load(at).tensors("best")["weights"], parts(200)["model"]["weights"])


def test_a_part_that_is_gone_or_damaged_is_not_sealed_as_good(at: Path) -> None:
    source = at / "step-000000000200" / "model.safetensors"
    bad = bytearray(source.read_bytes())
    bad[-1] ^= 1
    source.write_bytes(bad)
    with pytest.raises(InputError, match="model.safetensors: damaged .expected .* found"):
        save(at, 300, best=source)
    with pytest.raises(InputError, match="No such file"):
        save(at, 300, best=at / "none")
    (at / "alone.safetensors").write_bytes(b"x")
    with pytest.raises(InputError, match="expected a part of a good checkpoint"):
        save(at, 300, best=at / "alone.safetensors")
    assert names(at) == ["alone.safetensors", *kept(100, 200)]
    assert loaded(at) == 100
