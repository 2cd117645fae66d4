"""The slices of the stages of Soft-VC, and where its rules find what they read. Torch-free."""

from __future__ import annotations

import json
from collections.abc import Sequence

from vcpipe import evaluated
from vcpipe.config import Config
from vcpipe.settings import FeatureSettings, Slice
from vcpipe.systems.softvc.classifier_settings import REVISION as CLASSIFIER_REVISION
from vcpipe.systems.softvc.classifier_settings import ClassifierTraining, Embds
from vcpipe.systems.softvc.literal_settings import ADDED, EMBED_REVISION, PITDYN, ROLES
from vcpipe.systems.softvc.settings import MOVED, OF_CONDITION, AcousticTraining, Settings, Variant, run_name
from vcpipe.vocoders.config import PITCHED, generator_settings
from vcpipe.vocoders.config import REVISION as VOCODER_REVISION
from vcpipe.vocoders.config import TrainingSettings as VocoderTraining

ACOUSTIC_REVISION = 2
COVERAGE_REVISION = 1
RENDER_REVISION = 2
STATISTICS_REVISION = 1
PUBLISHED_UNITS = 100
STREAMS = ("units", "mel", "f0", "energy")
"""What a training draws of a recording and a row converts: the keys of `Settings.streams`, in its order."""


def statistics_slice(config: Config, corpus: str) -> Slice:
    """What the voices' pitch and loudness of a corpus depend on."""
    softvc: Settings = config.systems["softvc"]
    return {
        "stage": "statistics",
        "revision": STATISTICS_REVISION,
        "f0": config.feature_slice(softvc.f0, corpus),
        "energy": config.feature_slice(softvc.energy, corpus),
    }


def run_slice(config: Config, condition: str, refined: bool = False) -> Slice:
    """What an acoustic model depends on. `data` is what batches are drawn from, with the share of each.

    F0, energy and the statistics of voices are in it also of conditions `none` and `literal`, whose model hears none of
    them: a run keeps what is known of its voices, whatever its model is told.
    """
    softvc: Settings = config.systems["softvc"]
    units, mel = config.features[softvc.units], config.features[softvc.mel]
    added = ADDED if condition == "literal" else 0
    made_by: Slice = {
        "stage": "train",
        "task": "acoustic",
        "revision": ACOUSTIC_REVISION,
        "system": "softvc",
        "condition": condition,
        "model": softvc.model.model_dump(mode="json"),
        "units": {"grid": str(units.grid), "dim": units.dim + added, "n": n_units(units)},
        "mel": {"grid": str(mel.grid), "dim": mel.dim},
        "features": {name: _content(config, feature) for name, feature in softvc.streams.items()},
    }
    if condition == "literal":
        made_by["literal"] = {role: classifier_slice(config, role) for role in ROLES}
    mix = softvc.refine.mix if refined and softvc.refine else 0.0
    shares = [1 - mix, mix] if mix else [1.0]
    data = [
        _data(config, condition, corpus, variants, share)
        for (corpus, variants), share in zip(softvc.drawn(refined).items(), shares, strict=True)
    ]
    training = softvc.refine.training if refined and softvc.refine else softvc.training
    made_by |= {"training": training.model_dump(mode="json", exclude=AcousticTraining.MACHINE), "data": data}
    if not refined or softvc.refine is None:
        return made_by
    return {**made_by, "same_speakers": softvc.refine.same_speakers, "from": run_slice(config, condition)}


def n_units(units: FeatureSettings) -> int:
    """How many discrete units a feature has, 0 where they are soft; as many as published where it does not say."""
    return int(getattr(units, "clusters", PUBLISHED_UNITS)) if units.dtype == "int16" else 0


def _content(config: Config, feature: str) -> Slice:
    """What a converter has to know to make a feature of any recording: of a derived one, what it is made of too."""
    settings = config.features[feature]
    names = getattr(settings, "names", ())
    return {**settings.content(), **({"of": [_content(config, name) for name in names]} if names else {})}


def _data(config: Config, condition: str, corpus: str, variants: tuple[Variant, ...], share: float) -> Slice:
    """What is drawn of one corpus: of every column the shards of each variant."""
    softvc: Settings = config.systems["softvc"]
    columns = softvc.columns(condition, variants)
    return {
        "share": share,
        "shards": config.corpora[corpus].shards,
        **{key: [stream_slice(config, name, corpus) for name in names] for key, names in columns.items()},
        "statistics": statistics_slice(config, corpus),
    }


def classifier_slice(config: Config, role: Embds) -> Slice:
    """What a classifier of the literal variant depends on."""
    softvc: Settings = config.systems["softvc"]
    literal = softvc.literal
    assert literal is not None
    labels = {"pits": literal.pits, "dyns": literal.dyns}[role]
    return {
        "stage": "train",
        "task": "classifier",
        "revision": CLASSIFIER_REVISION,
        "system": "softvc",
        "embds": role,
        "encoder": config.features[literal.encoder].content(),
        "classifier": literal.classes.model_dump(mode="json"),
        "training": literal.training.model_dump(mode="json", exclude=ClassifierTraining.MACHINE),
        "wav": config.audio_slice(config.copy_of(literal.encoder), softvc.corpus),
        "labels": config.feature_slice(labels, softvc.corpus),
    }


def stream_slice(config: Config, name: str, corpus: str) -> Slice:
    """What the shards of a stream depend on: a feature, or units with the embeddings of the classifiers beside them."""
    softvc: Settings = config.systems["softvc"]
    return embed_slice(config, corpus, name) if name in softvc.embedded else config.feature_slice(name, corpus)


def embed_slice(config: Config, corpus: str, name: str = PITDYN) -> Slice:
    """What units with the embeddings of the classifiers beside them depend on; `name` is one of `embedded`."""
    softvc: Settings = config.systems["softvc"]
    return {
        "stage": "embed",
        "revision": EMBED_REVISION,
        "units": config.feature_slice(softvc.units, corpus),
        "wav": config.audio_slice(config.copy_of(softvc.embedded[name]), corpus),
        **{role: classifier_slice(config, role) for role in ROLES},
    }


def coverage_slice(config: Config, corpus: str) -> Slice:
    """What it depends on which units of softvc.corpus a corpus lacks."""
    softvc: Settings = config.systems["softvc"]
    sides = {"target": corpus, "reference": softvc.corpus}
    return {
        "stage": "coverage",
        "revision": COVERAGE_REVISION,
        **{
            side: {"units": config.feature_slice(softvc.units, name), "shards": config.corpora[name].shards}
            for side, name in sides.items()
        },
    }


def vocoder_slice(config: Config) -> Slice:
    """What the vocoder depends on."""
    softvc: Settings = config.systems["softvc"]
    units = config.features[softvc.heard]
    training = softvc.vocoder.training
    generator = generator_settings(softvc.vocoder.generator, "softvc.vocoder.generator")
    read = read_by_vocoder(softvc)
    return {
        "stage": "train",
        "task": "vocoder",
        "revision": VOCODER_REVISION,
        "system": "softvc",
        "generator": generator.model_dump(mode="json"),
        "training": training.model_dump(mode="json", exclude=VocoderTraining.MACHINE),
        "units": {"grid": str(units.grid), "dim": units.dim},
        "wav": config.audio_slice(softvc.copy_in(config), softvc.corpus),
        "variants": [config.feature_slice(softvc.heard, softvc.corpus)],
        "features": {name: _content(config, feature) for name, feature in read.items()},
    }


def read_by_vocoder(softvc: Settings) -> dict[str, str]:
    """The feature of each stream that the vocoder reads."""
    generator = generator_settings(softvc.vocoder.generator, "softvc.vocoder.generator")
    return {"mel": softvc.mel, **({"f0": softvc.f0} if generator.arch in PITCHED else {})}


def render_slice(config: Config, row: str) -> Slice:
    """What the conversions of a row depend on, beside the table of trials; of a resynthesis no acoustic model is."""
    softvc: Settings = config.systems["softvc"]
    corpus, judged = evaluated.corpus(config), softvc.all_rows[row]
    condition = softvc.condition_of(row)
    without = set() if condition in MOVED and not judged.resynthesis else OF_CONDITION
    acoustic = {} if judged.resynthesis else {"run": run_slice(config, condition, softvc.refined(row))}
    return {
        "stage": "render",
        "revision": RENDER_REVISION,
        "row": judged.model_dump(mode="json", exclude={"convert", "condition", "refined"}),
        "convert": softvc.convert_of(row).model_dump(mode="json", exclude=set(without)),
        **acoustic,
        "vocoder": vocoder_slice(config),
        **{key: stream_slice(config, name, corpus) for key, name in streams_of_row(softvc, row).items()},
        "wav": config.audio_slice(softvc.copy_in(config), corpus),
    }


def streams_of_row(softvc: Settings, row: str) -> dict[str, str]:
    """The shards of each stream that a row is made of: those that the vocoder reads where it is a resynthesis."""
    if softvc.all_rows[row].resynthesis:
        return read_by_vocoder(softvc)
    return softvc.streams_of(softvc.condition_of(row))


def acoustic_of_row(softvc: Settings, row: str) -> list[str]:
    """The run folder of the acoustic model that a row converts with; none where it is a resynthesis."""
    return [] if softvc.all_rows[row].resynthesis else [softvc.run_of(row)]


def fitted(config: Config) -> list[str]:
    """The model that makes the units of what an extractor gives, where there is one: it goes into the run folder."""
    softvc: Settings = config.systems["softvc"]
    units = config.features[softvc.units]
    return [f"results/runs/{softvc.units}/model.safetensors"] if getattr(units, "fitted_on", "") else []


def counted_by(config: Config) -> list[str]:
    """The model that says which unit a soft one is, where the units are soft."""
    softvc: Settings = config.systems["softvc"]
    return fitted(config) if config.features[softvc.units].kind == "soft_units" else []


def classifiers(softvc: Settings, acoustic: str) -> dict[str, str]:
    """The run folders of the classifiers whose embeddings an acoustic model reads."""
    condition, _ = softvc.acoustics[acoustic]
    return {role: f"results/runs/hubert_{role}" for role in ROLES} if condition == "literal" else {}


def base_of(softvc: Settings, name: str) -> list[str]:
    """The files of the run that a refined one goes on from."""
    condition, refined = softvc.acoustics[name]
    folder = f"results/runs/{run_name(condition)}"
    return [f"{folder}/model.safetensors", f"{folder}/config.json"] if refined else []


def option(name: str, values: Sequence[str]) -> list[str]:
    """A command line's option, once for each value."""
    return [part for value in values for part in (f"--{name}", value)]


def data_options(config: Config, acoustic: str) -> list[str]:
    """Where a training finds what it draws of each corpus, for its command line."""
    softvc: Settings = config.systems["softvc"]
    copy = softvc.copy_in(config)
    condition, refined = softvc.acoustics[acoustic]
    places = [
        {
            "manifest": f"results/audio/{copy}/{corpus}/manifest.csv",
            "statistics": statistics_file(corpus),
            **{
                key: [f"results/features/{name}/{corpus}" for name in names]
                for key, names in softvc.columns(condition, variants).items()
            },
        }
        for corpus, variants in softvc.drawn(refined).items()
    ]
    return option("data", [json.dumps(place) for place in places])


def statistics_file(corpus: str) -> str:
    """Where the voices of a corpus stand."""
    return f"results/softvc/statistics/{corpus}.json"


def coverage_file(corpus: str) -> str:
    """Where it stands which units a corpus lacks."""
    return f"results/softvc/coverage/{corpus}.json"
