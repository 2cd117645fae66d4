"""What the documents tell to write into the config: it loads, and does what is said."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from vcpipe import catalog, evaluated
from vcpipe.config import Config, load
from vcpipe.sections import read

ROOT = Path(__file__).parents[1]
SYSTEMS = catalog.system_names()
KEYS = {"corpora", "audio", "features", "evaluate", "packs", *SYSTEMS}


def blocks(document: str) -> list[str]:
    """The YAML blocks of a document that have keys of the config at the top."""
    found = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / document).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [text for text in found if KEYS & set(yaml.safe_load(text))]


def told(text: str, folder: Path) -> Config:
    """The config with a block: laid over the default, or alone where it has copies and features and nothing else."""
    raw: dict[str, Any] = yaml.safe_load(text)
    if set(raw) <= {"audio", "features"}:
        return load(raw)
    (folder / "block.yaml").write_text(text, encoding="utf-8")
    return load(read([ROOT / "config.yaml", folder / "block.yaml"]))


@pytest.mark.parametrize(
    ("document", "number"),
    [(name, number) for name in ("README.md", "docs/SOFTVC.md") for number in range(len(blocks(name)))],
)
def test_every_block_of_the_config_loads(document: str, number: int, tmp_path: Path) -> None:
    text = blocks(document)[number]
    config, raw = told(text, tmp_path), yaml.safe_load(text)
    assert set(raw.get("features", ())) <= set(config.features)
    assert {name for name in SYSTEMS if raw.get(name)} <= set(config.systems)


def test_with_your_own_corpus_nothing_is_learned_or_judged_on_the_demo(tmp_path: Path) -> None:
    (text,) = (text for text in blocks("README.md") if "corpora" in yaml.safe_load(text))
    config = told(text, tmp_path)
    assert {name for settings in config.systems.values() for name in settings.corpora()} == {"mine"}
    assert {name for feature in config.features.values() if (name := getattr(feature, "corpus", ""))} == {"mine"}
    assert evaluated.corpus(config) == "mine"


def test_a_small_voice_is_refined_on_and_the_large_corpus_is_judged(tmp_path: Path) -> None:
    (text,) = blocks("docs/SOFTVC.md")
    config = told(text, tmp_path)
    softvc = config.systems["softvc"]
    assert (softvc.corpus, softvc.refine.corpus, evaluated.corpus(config)) == ("demo", "mine", "demo")
    assert list(softvc.drawn(refined=True)) == ["mine", "demo"]
