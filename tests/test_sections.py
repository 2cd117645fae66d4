from pathlib import Path
from typing import Any

import pytest
import yaml

from vcpipe.errors import InputError
from vcpipe.sections import read


def write(folder: Path, **files: str) -> list[Path]:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return [folder / f"{name}.yaml" for name in files]


def test_config_files_are_laid_over_each_other_key_by_key_as_snakemake_does(tmp_path: Path) -> None:
    paths = write(
        tmp_path,
        base="audio: {16k: {min_s: 1, max_s: 9}}\nknnvc: {generator: vocos_small, corpus: a, demo: {pairs: 3}}\n",
        top="audio: {16k: {min_s: 2}, 24k: {rate: 24000}}\nknnvc: {generator: {preset: hifigan_v1}, demo: null}\n",
        last="knnvc: {generator: vocos_small}\n",
    )
    from snakemake.utils import update_config

    for count in (1, 2, 3):
        expected: dict[str, Any] = {}
        for path in paths[:count]:
            update_config(expected, yaml.safe_load(path.read_text()))
        assert read(paths[:count]) == expected
    assert read(paths[:2])["audio"] == {"16k": {"min_s": 2, "max_s": 9}, "24k": {"rate": 24000}}


def test_an_alias_of_yaml_is_a_copy_not_the_same_mapping(tmp_path: Path) -> None:
    paths = write(tmp_path, base="a: &both {x: 1}\nb: *both\n", top="a: {x: 2}\n")
    assert read(paths) == {"a": {"x": 2}, "b": {"x": 1}}


@pytest.mark.parametrize(
    ("text", "words"),
    [("a: [", "not YAML"), ("- a\n", "expected keys with values, found list"), ("", "found NoneType")],
)
def test_a_config_file_that_is_none_is_named(tmp_path: Path, text: str, words: str) -> None:
    (path,) = write(tmp_path, broken=text)
    with pytest.raises(InputError, match=f"broken.yaml: .*{words}") as caught:
        read([path])
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="none.yaml: no such config file"):
        read([tmp_path / "none.yaml"])
