"""Utterances of speakers who never spoke, for what needs a manifest and no recording."""

from vcpipe.manifest import Utterance


def utterances(held_out: str = "test") -> list[Utterance]:
    """Five of each of the speakers a, b and c, of a second each: three of train, two that are held out."""
    return [
        Utterance(f"{s}{n}", s, f"{s}/{n}.wav", 16000, 16000, split=held_out if n >= 3 else "train")
        for s in "abc"
        for n in range(5)
    ]


def spoken(speakers: int, count: int = 12, split: str = "test", name: str = "s") -> list[Utterance]:
    """`count` utterances of each speaker, of 2, 4, 6, ... seconds; every fifth has no text."""
    return [
        Utterance(
            f"{name}{s:02d}-{n:02d}", f"{name}{s:02d}", "", 32000 * (n + 1), 16000, "text" if n % 5 else "", split=split
        )
        for s in range(speakers)
        for n in range(count)
    ]
