"""How recordings become the arrays that features are made from. Standard library and pydantic only.

What is cut out of a recording (`trim`, `slice`, `gates`) and what is done to the samples (`rate`, `denoise`,
`augment`, `loudness`) are kept apart: copies that agree in the first have the same utterances, frame for frame.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, ValidationInfo, field_validator, model_validator

from vcpipe.settings import Settings

TICKS = 50
"""Per second: pieces begin and end on these, so that a copy at any rate has exactly the same frames."""

RATES = (16000, 22050, 24000, 32000, 44100, 48000)
"""Samples/s in use; every other multiple of 50 between 8000 and 192000 works as well."""

DEFAULT_TOP_DB = 40.0
LOUDNESS_BLOCK_S = 0.4  # of ITU-R BS.1770: nothing shorter has a loudness
PITCH_MIN_S = 0.1  # Praat needs three periods of the lowest pitch, with room


def _ascending(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError(f"a range is [lowest, highest], found [{limits[0]:g}, {limits[1]:g}]")
    return limits


Ratio = Annotated[float, Field(ge=0.25, le=4)]
Speed = Annotated[float, Field(ge=0.5, le=2)]
Semitones = Annotated[float, Field(ge=-24, le=24)]
Decibels = Annotated[float, Field(ge=-60, le=60)]
Ascending = AfterValidator(_ascending)


class SpeechFinder(Settings):
    """Who tells speech from silence."""

    by: Literal["silero", "energy"] = Field("silero", description="a network, or the level of 20 ms frames")
    top_db: PositiveFloat | None = Field(
        None, description=f"energy: frames this far below the loudest are silence; {DEFAULT_TOP_DB:g} unless given"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: Any) -> Any:
        """Writes the default threshold down, so that it stands in the slice of what is made with it."""
        if isinstance(values, dict) and values.get("by") == "energy" and values.get("top_db") is None:
            return {**values, "top_db": DEFAULT_TOP_DB}
        return values

    @field_validator("top_db")
    @classmethod
    def _only_energy(cls, top_db: float | None, info: ValidationInfo) -> float | None:
        if top_db is not None and info.data.get("by") == "silero":
            raise ValueError("silero has no threshold in dB; remove top_db, or set `by: energy`")
        return top_db


class Trim(SpeechFinder):
    """Cuts what lies before the first and after the last speech; what lies between stays."""

    pad_s: float = Field(0.1, ge=0, le=10, description="kept on both sides of the speech")


class Slicing(SpeechFinder):
    """Cuts recordings longer than `max_s` at their silences; shorter ones stay whole."""

    min_s: PositiveFloat = Field(1.6, description="shorter slices are joined with a neighbour, or else rejected")
    max_s: PositiveFloat = Field(11.25, description="no slice is longer")
    silence_s: float = Field(0.4, ge=0.1, le=10, description="every silence this long is a place to cut")
    pad_s: float = Field(0.2, ge=0, le=10, description="silence kept on each side of a cut; the rest of it is dropped")

    @model_validator(mode="after")
    def _fits(self) -> Slicing:
        if self.max_s < 2 * self.min_s:
            raise ValueError(
                f"slice.max_s ({self.max_s:g}) must be at least twice slice.min_s ({self.min_s:g}): speech without a "
                "silence is cut into two parts of which each has min_s"
            )
        return self


class Denoise(Settings):
    """Takes away the noise that is heard in the pauses of a recording; one without pauses stays as it is.

    `logmmse` (Ephraim and Malah 1985) is what SV2TTS uses; `spectral` is the gating of the noisereduce package.
    """

    method: Literal["spectral", "logmmse"]
    strength: float = Field(1.0, gt=0, le=1, description="0: as it was; 1: all that the method takes away")


class Loudness(Settings):
    """Scales every utterance to one level.

    In use: peak 0.6 (Grad-SVC) and 0.95 (its speaker encoder); rms -30 and raise_only (the speaker encoder of
    SV2TTS); bs1770 -16 (kNN-VC) and -23 (EBU R 128).
    """

    kind: Literal["peak", "rms", "bs1770"]
    level: float = Field(description="peak: of the largest sample, 0 to 1; rms: dBFS; bs1770: LUFS")
    raise_only: bool = Field(False, description="louder utterances stay as they are")
    ceiling_dbtp: float = Field(-1.0, ge=-20, le=0, description="rms, bs1770: no gain goes beyond this true peak")

    @model_validator(mode="after")
    def _in_range(self) -> Loudness:
        if self.kind == "peak" and not 0 < self.level <= 1:
            raise ValueError(f"loudness.level of kind peak lies in (0, 1], found {self.level:g}")
        if self.kind != "peak" and not -70 <= self.level < 0:
            unit = "dBFS" if self.kind == "rms" else "LUFS"
            raise ValueError(f"loudness.level of kind {self.kind} lies in [-70, 0) {unit}, found {self.level:g}")
        return self


class Augment(Settings):
    """One random variant of every utterance. Every draw depends on `seed` and the utterance id alone.

    A range is `[lowest, highest]`. Ratios are drawn evenly on a logarithmic scale, the rest evenly. Formants and
    pitch are those of Praat's "Change gender".
    """

    seed: int = Field(0, ge=0)
    formant: Annotated[tuple[Ratio, Ratio], Ascending] | None = Field(None, description="factor on all formants")
    pitch: Annotated[tuple[Semitones, Semitones], Ascending] | None = Field(None, description="semitones up")
    pitch_range: Annotated[tuple[Ratio, Ratio], Ascending] | None = Field(
        None, description="factor on the distance of the pitch from its median"
    )
    pitch_floor_hz: PositiveFloat = Field(75.0, description="lowest pitch that is looked for")
    pitch_ceiling_hz: PositiveFloat = Field(600.0, description="highest pitch that is looked for")
    speed: Annotated[tuple[Speed, Speed], Ascending] | None = Field(
        None, description="factor on tempo and pitch together; the length is rounded to 20 ms"
    )
    noise: Literal["white", "pink"] = Field("white", description="colour of the noise of snr_db")
    snr_db: Annotated[tuple[Decibels, Decibels], Ascending] | None = Field(None, description="utterance over noise")
    gain_db: Annotated[tuple[Decibels, Decibels], Ascending] | None = Field(None, description="on the whole utterance")

    @property
    def changes_voice(self) -> bool:
        """Whether Praat is needed."""
        return bool(self.formant or self.pitch or self.pitch_range)

    @model_validator(mode="after")
    def _does_something(self) -> Augment:
        if not (self.changes_voice or self.speed or self.snr_db or self.gain_db):
            raise ValueError("augment changes nothing; give formant, pitch, pitch_range, speed, snr_db or gain_db")
        if not 40 <= self.pitch_floor_hz < self.pitch_ceiling_hz:
            raise ValueError(
                f"augment.pitch_floor_hz ({self.pitch_floor_hz:g}) must be at least 40 and below "
                f"augment.pitch_ceiling_hz ({self.pitch_ceiling_hz:g})"
            )
        return self


class Gates(Settings):
    """Recordings that are not good enough are rejected with the measured number. A gate left out is open."""

    min_snr_db: float | None = Field(None, ge=-20, le=100, description="speech over the noise of the pauses")
    max_clipped_share: float | None = Field(None, ge=0, le=1, description="of the samples")
    min_speech_share: float | None = Field(None, ge=0, le=1, description="of the duration, by silero")


class AudioSettings(Settings):
    """One copy of the recordings: what becomes of each between its file and the row of an audio shard."""

    rate: PositiveInt = Field(16000, description="samples per second: " + ", ".join(map(str, RATES)))
    min_s: PositiveFloat = Field(0.5, description="shorter recordings are rejected")
    max_s: PositiveFloat = Field(3600.0, description="longer recordings are rejected")
    silence_dbfs: float = Field(-70.0, description="a recording whose peak is lower is rejected as silent")
    gates: Gates | None = None
    trim: Trim | None = None
    slice: Slicing | None = None
    denoise: Denoise | None = None
    augment: Augment | None = None
    loudness: Loudness | None = None

    def cut(self) -> dict[str, Any]:
        """The part that decides which pieces come out, and how many frames each has.

        Copies that agree in it have the same utterances, and the same frames at every rate. `rate`, `denoise`,
        `loudness` and `augment` are no part of it, but for `augment.speed`, which changes the number of frames.
        """
        kept = self.model_dump(mode="json", exclude={"rate", "denoise", "loudness", "augment"}, exclude_none=True)
        if self.augment is not None and self.augment.speed is not None:
            kept["speed"] = {"seed": self.augment.seed, "range": list(self.augment.speed)}
        return kept

    @field_validator("rate")
    @classmethod
    def _whole_ticks(cls, rate: int) -> int:
        if not 8000 <= rate <= 192000 or rate % TICKS:
            raise ValueError(f"expected a multiple of {TICKS} from 8000 to 192000, as {', '.join(map(str, RATES))}")
        return rate

    @model_validator(mode="after")
    def _agree(self) -> AudioSettings:
        if self.max_s < self.min_s:
            raise ValueError(f"max_s ({self.max_s:g}) is below min_s ({self.min_s:g})")
        if self.slice is not None and self.slice.min_s < self.min_s:
            raise ValueError(f"slice.min_s ({self.slice.min_s:g}) is below min_s ({self.min_s:g}); raise it")
        augment, loudness = self.augment, self.loudness
        if augment is not None and augment.changes_voice and self.min_s < PITCH_MIN_S:
            raise ValueError(f"augment.formant and pitch need min_s of at least {PITCH_MIN_S}, found {self.min_s:g}")
        if loudness is not None:
            if augment is not None and augment.gain_db is not None:
                raise ValueError("augment.gain_db is undone by loudness, which comes after it; remove one of them")
            shortest = self.min_s / (augment.speed[1] if augment is not None and augment.speed is not None else 1)
            if loudness.kind == "bs1770" and shortest < LOUDNESS_BLOCK_S:
                raise ValueError(
                    f"loudness.kind bs1770 needs utterances of at least {LOUDNESS_BLOCK_S} s, min_s allows "
                    f"{shortest:.3g} s; raise min_s"
                )
        return self
