# The config, checked once, and the few helpers of the rules. Nothing here may import torch or numpy:
# every start of snakemake, and every job on a cluster, reads it.
import atexit
import base64
import functools
import json
import os
import re
import shlex
import sys
import tempfile
from pathlib import Path

from snakemake.exceptions import WorkflowError

from vcpipe import catalog, evaluated, packing
from vcpipe.config import load
from vcpipe.settings import DerivedSettings, canonical
from vcpipe.corpora import lists, words
from vcpipe.errors import InputError
from vcpipe.manifest import shard_names

TARGETS = []
RESUMED = []  # rules whose jobs, when they are started again, go on where they were stopped
FROZEN = "VCPIPE_FROZEN_CONFIG"

# `vcpipe` is the one beside the python that runs snakemake, whether or not its environment is activated
shell.prefix(f"export PATH={shlex.quote(os.path.dirname(sys.executable))}:$PATH; ")


def trainer(wildcards, input, resources):
    """The program of a training: one process, or one for each GPU where the profile gives it several."""
    gpus = resources.get("gpu", 0)
    if gpus < 2:
        return "vcpipe"
    signals = "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"  # passed on; the last, which a cluster may send, is not by itself
    return f"torchrun --standalone --nproc-per-node {gpus} --signals-to-handle {signals} -m vcpipe"


def freeze_config():
    """Jobs of a running workflow keep the config that it was started with, whatever happens to config.yaml meanwhile."""
    if workflow.is_main_process:
        os.makedirs(".snakemake", exist_ok=True)
        handle, path = tempfile.mkstemp(prefix="vcpipe-config.", suffix=".json", dir=".snakemake")
        with os.fdopen(handle, "w") as f:
            json.dump(config, f, sort_keys=True)
        os.environ[FROZEN] = os.path.abspath(path)
        atexit.register(Path(os.environ[FROZEN]).unlink, missing_ok=True)
    elif FROZEN in os.environ:
        frozen = json.loads(Path(os.environ[FROZEN]).read_text())
        config.clear()
        config.update(frozen)


def checked_config():
    """The config as settings objects, with the lists of its corpora brought up to date."""
    try:
        checked = load(config)
        packing.check(checked)
        return checked, refresh_lists(checked) if workflow.is_main_process else listed_before(checked)
    except InputError as error:
        raise WorkflowError(str(error))
    except OSError as error:
        raise WorkflowError(f"{error.filename}: {error.strerror}; check the path, and that there is room")


def listed_before(checked):
    """The corpora whose lists the main process made, for the jobs that it starts."""
    return [name for name in checked.corpora if os.path.isdir(f"results/corpora/{name}/lists")]


def refresh_lists(checked):
    """Names the corpora that are there: one that no system uses may be missing; a training needs both splits."""
    present = []
    systems = checked.systems.values()
    used = {name for settings in systems for name in settings.corpora()}
    used |= {evaluated.corpus(checked)} if systems else set()
    trained_on = {name for settings in systems for name in settings.trains_on()}
    for name, settings in checked.corpora.items():
        try:
            counts = lists.refresh(name, settings, Path("results", "corpora", name))
        except InputError as error:
            if name in used:
                raise
            print(f"corpora.{name} is left out: {error}", file=sys.stderr)
            continue
        present.append(name)
        if name in trained_on and not (counts["train"] and counts["valid"]):
            raise InputError(
                f"corpora.{name}: expected utterances for train and for valid, found {counts['train']} and "
                f"{counts['valid']}; set `splits` to a folder with a valid.csv, or, where the corpus names no split "
                "itself, `valid_share`"
            )
    return present


def distrust(wanted):
    """Has files made again that were made under another slice than the wanted one, where snakemake cannot know it.

    It takes a file that it has no record of for what the config asks for. A head that was killed while its jobs went
    on leaves such, and so does a `.snakemake` that was lost. Older than all that it is made of, a file is made again.
    """
    for path in filter(unrecorded, wanted) if workflow.is_main_process else []:
        from vcpipe.inspection import made_by  # with numpy, which nothing else here needs

        found = made_by(path)
        if found is None or canonical(found) != wanted[path]:
            os.utime(path, (1, 1))  # 0 is no time to snakemake


def unrecorded(path):
    """Whether a file is there though snakemake has no record of what made it."""
    record = Path(".snakemake/metadata", base64.urlsafe_b64encode(path.encode()).decode())
    return os.path.isfile(path) and not (record.is_file() and record.stat().st_size)


def distrust_shards(folder, corpus, made_by):
    distrust(dict.fromkeys((f"{folder}/{corpus}/{shard}.h5" for shard in shards(corpus)), canonical(made_by)))


def planned_for(*tables):
    """Digests of the lists that a job is planned for, so that one which changes meanwhile is not missed."""
    return lambda wildcards: " ".join(lists.digest(table.format(**wildcards)) for table in tables)


def shards(corpus):
    """Stems of the shards of a corpus."""
    return shard_names(CONFIG.corpus(corpus, "corpora").shards)


def audio_slice(wildcards):
    return canonical(CONFIG.audio_slice(wildcards.audio, wildcards.corpus))


def feature_slice(wildcards):
    return canonical(CONFIG.feature_slice(wildcards.feature, wildcards.corpus))


def audio_folder(system, corpus):
    """Where the recordings lie that a system learns to make."""
    return f"results/audio/{CONFIG.systems[system].copy_in(CONFIG)}/{corpus}"


def audio_shards(system, corpus):
    return expand("{folder}/{shard}.h5", folder=audio_folder(system, corpus), shard=shards(corpus))


def audio_of(wildcards, name):
    """A file of the copy of the recordings that a feature is made of."""
    return f"results/audio/{CONFIG.copy_of(wildcards.feature)}/{wildcards.corpus}/{name.format(**wildcards)}"


def fitted_model(wildcards):
    """What was fitted for a derived feature, where its kind needs that."""
    return f"results/runs/{wildcards.feature}/model.safetensors" if DERIVED[wildcards.feature].fitted_on else []


def share_of_cores(wildcards):
    """Threads of a job when all shards of its corpus are worked on at once."""
    return max(1, (workflow.cores or 1) // len(shards(wildcards.corpus)))


def one_of(names):
    """A pattern of the names; of none, one that nothing matches."""
    return "|".join(map(re.escape, names)) or "(?!)"


def feature_shards(features, corpus):
    return expand(
        "results/features/{feature}/{corpus}/{shard}.h5", feature=features, corpus=corpus, shard=shards(corpus)
    )


def folders(name):
    """The folders of an input's shards, in order; made from the input, so no part of the provenance."""
    return lambda wildcards, input: list(dict.fromkeys(os.path.dirname(path) for path in input[name]))


def stream_options(streams, path):
    """Options `--<stream> <path of its feature>`; made from the input, so no part of the provenance."""
    return lambda wildcards, input: [
        part
        for stream, feature in streams.items()
        for part in (f"--{stream}", path.format(feature=feature, **wildcards))
    ]


def corpus_settings(wildcards):
    """All of a corpus's settings, of which its words may depend on any."""
    return CONFIG.corpus(wildcards.corpus, "corpora").model_dump_json()


@functools.cache
def alignment_files(corpus):
    return words.digest(CONFIG.corpora[corpus])


def alignments_of(wildcards):
    """The files of alignments as they lie now; walked through only when a corpus's words are asked for."""
    return alignment_files(wildcards.corpus)


def has_alignments(corpus):
    return hasattr(catalog.corpus(CONFIG.corpora[corpus].kind, "corpora"), "alignments")


def word_tables(corpus):
    return expand("results/corpora/{corpus}/words/{shard}.jsonl", corpus=corpus, shard=shards(corpus))


def root_of(wildcards, input):
    # depends on `input` so that it is no part of the provenance: a corpus may move to another disk
    return CONFIG.corpus(wildcards.corpus, "corpora").root


def max_reject_share_of(wildcards, input):
    # as above: a looser limit makes nothing stale
    return CONFIG.corpus(wildcards.corpus, "corpora").max_reject_share


def made_corpus(wildcards):
    """The recordings themselves, where the corpus is made here and not found on disk."""
    settings = CONFIG.corpus(wildcards.corpus, "corpora")
    made = hasattr(catalog.corpus(settings.kind, "corpora"), "make")
    return f"results/corpora/{wildcards.corpus}/made.json" if made else []


def tables(pattern):
    """The tables of all shards of the corpus in the wildcards."""
    return lambda wildcards: expand(pattern, **wildcards, shard=shards(wildcards.corpus))


def pack_sources(pack):
    """Where the manifest and the shards of a pack lie: of each column its variants, and of each of these the shards."""
    corpus = CONFIG.packs[pack].corpus
    columns = {
        column: [
            expand("{folder}/{shard}.h5", folder=CONFIG.source(name, corpus, pack)[0], shard=shards(corpus))
            for name in names
        ]
        for column, names in packing.columns(CONFIG, pack).items()
    }
    return {
        "manifest": f"results/audio/{packing.copy_of(CONFIG, pack)}/{corpus}/manifest.csv",
        "columns": columns,
        "shards": [path for variants in columns.values() for paths in variants for path in paths],
    }


def f0_of(copy):
    """The feature whose F0 the statistics of a copy show: the first of kind f0 that reads it; empty without one."""
    names = (name for name, settings in CONFIG.features.items() if settings.kind == "f0")
    return next((name for name in names if CONFIG.copy_of(name) == copy), "")


def f0_shards(wildcards):
    name = f0_of(wildcards.audio)
    return feature_shards([name], wildcards.corpus) if name else []


def f0_options(wildcards):
    name = f0_of(wildcards.audio)
    if not name:
        return ""
    made_by = canonical(CONFIG.feature_slice(name, wildcards.corpus))
    return f"--f0 results/features/{name}/{wildcards.corpus} --slice {shlex.quote(made_by)}"


freeze_config()
CONFIG, PRESENT = checked_config()
for corpus in PRESENT:
    for name in CONFIG.audio:
        distrust_shards(f"results/audio/{name}", corpus, CONFIG.audio_slice(name, corpus))
    for name in CONFIG.features:
        distrust_shards(f"results/features/{name}", corpus, CONFIG.feature_slice(name, corpus))
DERIVED = {name: settings for name, settings in CONFIG.features.items() if isinstance(settings, DerivedSettings)}


onstart:
    # a profile's `retries` is for failures; a training that was stopped is not one, however often its time is up
    for name in RESUMED:
        workflow.get_rule(name).restart_times = 10 * workflow.execution_settings.retries


wildcard_constraints:
    audio=one_of(CONFIG.audio),
    corpus=one_of(CONFIG.corpora),
    feature=one_of(CONFIG.features),
    shard=r"\d{3}",
