"""What of the `softvc:` section would otherwise fail hours later, refused by name. Torch-free."""

from __future__ import annotations

from vcpipe.config import Config
from vcpipe.errors import InputError
from vcpipe.sections import check_name
from vcpipe.settings import DerivedSettings
from vcpipe.systems.softvc.classifier_settings import GRID, check_encoder
from vcpipe.systems.softvc.literal_settings import PITDYN
from vcpipe.systems.softvc.settings import FIXED_ROWS, MOVED, OF_CONDITION, ConvertSettings, Settings, Variant
from vcpipe.vocoders.config import PITCHED, check_rates, generator_settings

FITTED = ("soft_units", "kmeans")
"""Derived units whose model a run folder takes along, to make them of what an extractor gives."""
SUNG = {"centre": "cell", "pad": "reflect", "power": 1, "log": "ln", "pre_emphasis": 0, "epsilon": 0, "fmin": 0}
"""What `vcpipe.nn.griffinlim` and `vcpipe.nn.source_filter.MelSourceFilter` take a mel for, from 0 Hz to half the rate
and with a window as long as the transform."""
RANGE = ("ceil_hz", "floor_hz")
"""Of an f0 feature: what was moved is looked for where it went."""
LEAST_MELS = 64
"""Bands that tell harmonics apart, which the pitch is heard by; it was measured with 128."""


def check(config: Config) -> None:
    """What would otherwise fail hours later: unknown names, grids that do not zip, rates that miss the hop."""
    softvc: Settings = config.systems["softvc"]
    config.corpus(softvc.corpus, "softvc.corpus")
    config.feature(softvc.mel, "softvc.mel")
    for key, kind in {"mel": "mel", "f0": "f0", "energy": "energy"}.items():
        _check_kind(config, getattr(softvc, key), kind, f"softvc.{key}")
        _check_augment(config, getattr(softvc, key), f"softvc.{key}")
    _check_units(config)
    _check_literal(config)
    for number, variant in enumerate(softvc.variants):
        _check_variant(config, variant, f"softvc.variants.{number}")
    _check_refine(config)
    _check_vocoder(config)
    for name in softvc.rows:
        check_name(name, f"softvc.rows.{name}")
        if name in FIXED_ROWS:
            raise InputError(f"config key 'softvc.rows.{name}': the system has a row of this name; choose another")
    for row in softvc.all_rows:
        _check_row(softvc, row)


def _check_kind(config: Config, name: str, kind: str, where: str, beside: str = "mel") -> None:
    """Refuses a feature of another kind, or on another grid than the one of `softvc.<beside>`."""
    softvc: Settings = config.systems["softvc"]
    found, grid = config.feature(name, where), config.feature(getattr(softvc, beside), f"softvc.{beside}").grid
    if found.kind != kind:
        raise InputError(f"config key '{where}': expected a feature of kind {kind}, {name} is of kind {found.kind}")
    if found.grid != grid:
        raise InputError(
            f"config key '{where}': {name} lies on grid {found.grid}, softvc.{beside} on {grid}; both must be on the "
            "same: set the feature's hop"
        )
    if kind == "energy" and (measure := getattr(found, "measure", "")) != "rms_db":
        raise InputError(f"config key '{where}': expected an energy with measure rms_db, {name} has {measure}")
    config.check_alike(config.copy_of(softvc.mel), config.copy_of(name), where)


def _check_augment(config: Config, name: str, where: str) -> None:
    """Refuses a feature of recordings that were changed otherwise than those of softvc.mel."""
    softvc: Settings = config.systems["softvc"]
    found, expected = config.copy_of(name), config.copy_of(softvc.mel)
    if config.audio[found].augment != config.audio[expected].augment:
        raise InputError(
            f"config key '{where}': expected a copy whose augment is that of softvc.mel's, else {name} is not what is "
            f"heard in the mel, found {found} and {expected}; set features.{name}.audio, or of what it is made of"
        )


def _check_variant(config: Config, variant: Variant, where: str) -> None:
    """Refuses a variant whose features are not those of one changed copy."""
    softvc: Settings = config.systems["softvc"]
    for key, name in variant.model_dump().items():
        _check_kind(config, name, key, f"{where}.{key}")
        _check_same(config, name, getattr(softvc, key), f"{where}.{key}")
    copies = sorted({config.copy_of(name) for name in variant.model_dump().values()})
    if len(copies) > 1:
        raise InputError(
            f"config key '{where}': expected mel, f0 and energy of one copy of the recordings, found "
            f"{' and '.join(copies)}; name features of one"
        )
    if copies == [config.copy_of(softvc.mel)]:
        raise InputError(
            f"config key '{where}': expected features of another copy than softvc.mel's, found {copies[0]} again; name "
            "features of a copy with `augment`, or remove the variant"
        )


def _check_same(config: Config, name: str, like: str, where: str) -> None:
    """Refuses a variant that is measured otherwise than what it is a variant of."""
    found, expected = (
        {key: value for key, value in config.features[n].content().items() if key not in RANGE} for n in (name, like)
    )
    if found != expected:
        key = next(k for k in sorted({*found, *expected}) if found.get(k) != expected.get(k))
        raise InputError(
            f"config key '{where}': expected {name} to be measured as {like} is, found {key} {found.get(key)!r} and "
            f"{expected.get(key)!r}; let them differ in `audio` alone, or in {' and '.join(RANGE)}"
        )


def _check_units(config: Config) -> None:
    softvc: Settings = config.systems["softvc"]
    units, mel = config.feature(softvc.units, "softvc.units"), config.feature(softvc.mel, "softvc.mel")
    if units.ROWS != "frame":
        raise InputError(
            f"config key 'softvc.units': expected a feature of frames, {softvc.units} has a row for every {units.ROWS}"
        )
    if units.grid.rate != mel.grid.rate or units.grid.hop != 2 * mel.grid.hop:
        raise InputError(
            f"config key 'softvc.units': {softvc.units} lies on grid {units.grid}, softvc.mel on {mel.grid}; one frame "
            "of units must be two of the mel"
        )
    config.check_alike(config.copy_of(softvc.mel), config.copy_of(softvc.units), "softvc.units")
    _check_augment(config, softvc.units, "softvc.units")
    if isinstance(units, DerivedSettings) and (
        units.kind not in FITTED or isinstance(units.parents[0], DerivedSettings)
    ):
        raise InputError(
            "config key 'softvc.units': a conversion makes units of a recording with an extractor, and with "
            f"{' or '.join(FITTED)} of what that gives, found {softvc.units} of kind {units.kind}, made of "
            f"{' and '.join(units.names)}; name such units"
        )


def _check_refine(config: Config) -> None:
    """Refuses a small voice that is the large corpus, and another beginning than the run that it goes on from."""
    softvc: Settings = config.systems["softvc"]
    if softvc.refine is None:
        return
    config.corpus(softvc.refine.corpus, "softvc.refine.corpus")
    if softvc.refine.corpus == softvc.corpus:
        raise InputError(
            f"config key 'softvc.refine.corpus': expected another corpus than softvc.corpus, found {softvc.corpus} for "
            "both; name the small voice's, or remove softvc.refine and raise softvc.training.steps"
        )
    if init := softvc.refine.training.init:
        raise InputError(
            "config key 'softvc.refine.training.init': refining goes on from the run of the same condition, found "
            f"{init}; remove the key, or set softvc.training.init, with which that run begins"
        )
    for number, variant in enumerate(softvc.refine.variants):
        _check_variant(config, variant, f"softvc.refine.variants.{number}")


def _check_literal(config: Config) -> None:
    """Refuses an encoder that can't be trained on, labels that are none, and units that nothing can stand beside."""
    softvc: Settings = config.systems["softvc"]
    if kept := next((name for name in config.features if name.startswith(PITDYN)), ""):
        raise InputError(
            f"config key 'features.{kept}': names with {PITDYN} are kept for units beside pitch and dynamics; choose "
            "another"
        )
    if softvc.literal is None:
        return
    where = "softvc.literal.encoder"
    encoder, units = config.feature(softvc.literal.encoder, where), config.features[softvc.units]
    check_encoder(encoder.content(), where)
    if encoder.kind != "hubert_soft" and not encoder.content().get("layer"):
        raise InputError(
            f"config key '{where}': expected a feature that stops at one layer of Whisper, from 1 on, found "
            f"{softvc.literal.encoder}; set its `layer`"
        )
    if units.grid != GRID or units.dtype == "int16":
        what = "discrete units" if units.dtype == "int16" else f"units on grid {units.grid}"
        raise InputError(
            f"config key 'softvc.units': softvc.literal puts columns beside soft units on grid {GRID}, found {what}; "
            "name a feature of kind soft_units or hubert_soft, or remove softvc.literal"
        )
    _check_kind(config, softvc.literal.pits, "f0", "softvc.literal.pits", "units")
    _check_kind(config, softvc.literal.dyns, "energy", "softvc.literal.dyns", "units")
    config.check_alike(config.copy_of(softvc.mel), config.copy_of(softvc.literal.encoder), where)
    for key in ("encoder", "pits", "dyns"):
        _check_augment(config, getattr(softvc.literal, key), f"softvc.literal.{key}")


def _check_vocoder(config: Config) -> None:
    """Refuses a generator that does not make the hop of the mel, or does not read what it is trained on."""
    softvc: Settings = config.systems["softvc"]
    where = "softvc.vocoder.generator"
    generator = generator_settings(softvc.vocoder.generator, where)
    check_rates(generator, config.features[softvc.mel].grid.hop, where)
    if generator.arch == "source_filter":
        raise InputError(
            f"config key '{where}': source_filter reads an envelope, here is a mel; name mel_source_filter_small"
        )
    heard = config.feature(softvc.heard, "softvc.vocoder.units")
    found = heard.names if isinstance(heard, DerivedSettings) and heard.kind == "joined" else (softvc.heard,)
    expected = (softvc.mel, softvc.f0) if generator.arch in PITCHED else (softvc.mel,)
    if tuple(found) != expected:
        wanted = f"a feature of kind joined of {' and '.join(expected)}" if len(expected) > 1 else softvc.mel
        raise InputError(
            f"config key 'softvc.vocoder.units': the generator {generator.arch} reads {wanted}, found {softvc.heard} "
            f"({' and '.join(found)}); name such a feature"
        )
    if generator.arch in PITCHED:
        _check_sung(config, generator.arch)


def _check_sung(config: Config, arch: str) -> None:
    """Refuses a mel that Griffin and Lim's iteration, in which the pitch is heard, or the pulses would take amiss."""
    name = config.systems["softvc"].mel
    mel = config.features[name].model_dump()
    highest = mel["rate"] / 2
    expected = {**SUNG, "win": mel["n_fft"], "fmax": highest}
    found = {**mel, "fmax": highest if mel["fmax"] is None else mel["fmax"]}
    faults = {key: f"{key} {value}" for key, value in expected.items() if found[key] != value}
    if mel["mels"] < LEAST_MELS:
        faults["mels"] = f"mels {LEAST_MELS} or more"
    if faults:
        key, wanted = next(iter(faults.items()))
        raise InputError(
            f"config key 'softvc.mel': the generator {arch} expects a mel with {wanted}, found {mel[key]} in {name}; "
            f"set features.{name}.{key}, or a softvc.vocoder.generator without a pitch"
        )


def _check_row(softvc: Settings, row: str) -> None:
    judged, where = softvc.all_rows[row], f"softvc.rows.{row}"
    if judged.refined and softvc.refine is None:
        raise InputError(f"config key '{where}.refined': expected softvc.refine to say on what, found none; add it")
    condition = softvc.condition_of(row)
    if condition == "literal" and softvc.literal is None:
        where = "softvc.condition" if judged.condition is None else f"{where}.condition"
        raise InputError(
            f"config key '{where}': literal expects softvc.literal to say what is trained on, found none; add "
            "`literal: {encoder: ..., pits: ..., dyns: ...}`"
        )
    convert = softvc.convert_of(row)
    own = softvc.convert.model_fields_set if row == "softvc" else set(judged.convert)
    if condition not in MOVED or judged.resynthesis:
        for key in sorted(OF_CONDITION & own):
            usual = ConvertSettings.model_fields[key].default
            if (found := getattr(convert, key)) != usual:
                raise InputError(
                    f"key '{softvc.where_convert(row)}.{key}': expected {usual} without a condition that can be moved, "
                    f"found {found}; remove the key, or set the condition to continuous or quantised"
                )
