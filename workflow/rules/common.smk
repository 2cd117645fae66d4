# The config, checked once, and the few helpers of the rules. Nothing here may import torch or numpy:
# every start of snakemake, and every job on a cluster, reads it.
import json
import os
import shlex
import sys
import tempfile
from pathlib import Path

from snakemake.exceptions import WorkflowError

from vcpipe import catalog
from vcpipe.config import canonical, load
from vcpipe.corpora import lists
from vcpipe.errors import InputError
from vcpipe.manifest import shard_names

TARGETS = []
FROZEN = "VCPIPE_FROZEN_CONFIG"

# `vcpipe` is the one beside the python that runs snakemake, whether or not its environment is activated
shell.prefix(f"export PATH={shlex.quote(os.path.dirname(sys.executable))}:$PATH; ")


def freeze_config():
    """Jobs of a running workflow keep the config that it was started with, whatever happens to config.yaml meanwhile."""
    if workflow.is_main_process:
        os.makedirs(".snakemake", exist_ok=True)
        handle, path = tempfile.mkstemp(
            prefix="vcpipe-config.", suffix=".json", dir=".snakemake"
        )
        with os.fdopen(handle, "w") as f:
            json.dump(config, f, sort_keys=True)
        os.environ[FROZEN] = os.path.abspath(path)
    elif FROZEN in os.environ:
        frozen = json.loads(Path(os.environ[FROZEN]).read_text())
        config.clear()
        config.update(frozen)


def checked_config():
    """The config as settings objects, with the lists of the corpora that its systems use brought up to date."""
    try:
        checked = load(config)
        used = {
            name for settings in checked.systems.values() for name in settings.corpora()
        }
        if workflow.is_main_process:
            for name in sorted(used):
                lists.refresh(
                    name,
                    checked.corpus(name, "corpora"),
                    Path("results", "corpora", name),
                )
        return checked
    except InputError as error:
        raise WorkflowError(str(error))


def forget_frozen():
    """Removes the frozen config of a finished run."""
    if workflow.is_main_process and FROZEN in os.environ:
        Path(os.environ.pop(FROZEN)).unlink(missing_ok=True)


def shards(corpus):
    """Stems of the shards of a corpus."""
    return shard_names(CONFIG.corpus(corpus, "corpora").shards)


def audio_slice(wildcards):
    return canonical(CONFIG.audio_slice(wildcards.corpus))


def feature_slice(wildcards):
    return canonical(CONFIG.feature_slice(wildcards.feature, wildcards.corpus))


def audio_shards(corpus):
    return expand(
        "results/audio/{corpus}/{shard}.h5", corpus=corpus, shard=shards(corpus)
    )


def feature_shards(feature, corpus):
    return expand(
        "results/features/{feature}/{corpus}/{shard}.h5",
        feature=feature,
        corpus=corpus,
        shard=shards(corpus),
    )


freeze_config()
CONFIG = checked_config()


onsuccess:
    forget_frozen()


onerror:
    forget_frozen()


wildcard_constraints:
    corpus="|".join(CONFIG.corpora),
    feature="|".join(CONFIG.features),
    shard=r"\d{3}",
