"""Word alignments: both formats there and back, what is tolerated, and what is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.corpora.miniature import HELLO, textgrid, write
from vcpipe.corpora.alignments import (
    TextMismatch,
    Word,
    cover,
    read_librispeech_alignments,
    read_textgrid,
    write_librispeech_alignments,
)
from vcpipe.errors import InputError

GO_DO = [Word("", 0, 0.49), Word("GO", 0.49, 0.89), Word("", 0.89, 1.27), Word("DO", 1.27, 1.38), Word("", 1.38, 1.5)]
GO_DO_LINE = '84-121123-0000 ",GO,,DO," "0.49,0.89,1.27,1.38,1.50"'


def table(folder: Path, *lines: str) -> Path:
    return (
        write(folder, {"84-121123.alignment.txt": "".join(f"{line}\n" for line in lines)}) / "84-121123.alignment.txt"
    )


def grid(folder: Path, words: list[tuple[float, float, str]], tier: str = "words", short: bool = False) -> Path:
    return write(folder, {"a.TextGrid": textgrid(words, tier, short)}) / "a.TextGrid"


def texts(words: list[Word]) -> list[str]:
    return [word.text for word in words]


# what every alignment is


def test_words_are_covered_by_pauses_without_gap_or_overlap() -> None:
    spoken = [Word("a", 0.2, 0.5), Word("b", 0.5, 0.9), Word("c", 0.8, 1.0), Word("", 1.2, 1.3), Word("", 1.3, 1.4)]
    assert cover(spoken, 2.0) == [
        Word("", 0, 0.2),
        Word("a", 0.2, 0.5),
        Word("b", 0.5, 0.9),
        Word("c", 0.9, 1.0),
        Word("", 1.0, 2.0),
    ]
    assert cover([Word("a", 0, 1)]) == [Word("", 0, 0), Word("a", 0, 1), Word("", 1, 1)]
    assert cover([]) == [Word("", 0, 0)]


def test_a_gap_that_is_only_rounding_is_no_pause() -> None:
    assert texts(cover([Word("a", 0, 0.3), Word("b", 0.30000000000000004, 0.5)])) == ["", "a", "b", ""]


# the text format


def test_a_line_is_read_as_words_with_their_stops(tmp_path: Path) -> None:
    assert read_librispeech_alignments(table(tmp_path, GO_DO_LINE)) == {"84-121123-0000": GO_DO}


@pytest.mark.parametrize("tail", [" ", " GO SLOWLY DO", ' "GO" ""', "\r"])
def test_what_follows_the_third_field_is_passed_over(tmp_path: Path, tail: str) -> None:
    assert read_librispeech_alignments(table(tmp_path, GO_DO_LINE + tail, "")) == {"84-121123-0000": GO_DO}


def test_missing_and_repeated_silences_are_mended(tmp_path: Path) -> None:
    found = read_librispeech_alignments(table(tmp_path, 'a "IT\'S,,,SO" "0.5,0.6,0.7,0.9"'))
    assert found["a"] == [
        Word("", 0, 0),
        Word("IT'S", 0, 0.5),
        Word("", 0.5, 0.7),
        Word("SO", 0.7, 0.9),
        Word("", 0.9, 0.9),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("84-121123-0000 ,GO, 0.49,0.89", r':2: expected `<utt_id> "A,B" "0.5,1.0"`, found'),
        ('84-121123-0000 ",GO,"', r":2: expected"),
        ('84-121123-0000 ",GO," "0.1,0.2"', r":2: 3 words but 2 times for 84-121123-0000"),
        ('84-121123-0000 ",GO" "0.1,x"', r":2: expected a time in seconds, found 'x'"),
        ('84-121123-0000 ",GO" "0.1,nan"', r":2: expected a time in seconds, found 'nan'"),
        ('84-121123-0000 ",GO" "-0.1,0.2"', r":2: expected a time in seconds, found '-0.1'"),
        ('84-121123-0000 ",GO" "0.2,0.1"', r":2: expected times that never fall, found 0.2,0.1"),
        (GO_DO_LINE, r":2: 84-121123-0000 has a line already"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    first = GO_DO_LINE if line == GO_DO_LINE else GO_DO_LINE.replace("0000", "0001")
    with pytest.raises(InputError, match=r"84-121123\.alignment\.txt" + message) as raised:
        read_librispeech_alignments(table(tmp_path, first, line))
    assert "\n" not in str(raised.value)


def test_bytes_that_are_no_text_are_named_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(GO_DO_LINE.encode() + b"\nna\xefve")
    with pytest.raises(InputError, match=r"a:2: expected UTF-8 or UTF-16, found other bytes"):
        read_librispeech_alignments(tmp_path / "a")
    with pytest.raises(InputError, match=r"b: the file cannot be read \(No such file or directory\)"):
        read_librispeech_alignments(tmp_path / "b")


def test_writing_gives_the_published_form(tmp_path: Path) -> None:
    write_librispeech_alignments(tmp_path / "out.txt", {"84-121123-0000": GO_DO, "b": [Word("it's", 0.0000625, 1.0)]})
    lines = (tmp_path / "out.txt").read_text().splitlines()
    assert lines == [GO_DO_LINE, 'b ",IT\'S," "0.000063,1.00,1.00"']


def test_a_word_that_the_text_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the word 'out of' of a has a space"):
        write_librispeech_alignments(tmp_path / "out.txt", {"a": [Word("out of", 0, 1)]})
    assert list(tmp_path.iterdir()) == []


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "A", "IT'S", "ÉTÉ"]), st.integers(0, 10**6), st.integers(0, 10**6)), max_size=8
    )
)
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[str, int, int]]
) -> None:
    at, words = 0, []
    for text, gap, length in parts:
        words.append(Word(text, (at + gap) / 1e6, (at + gap + length) / 1e6))
        at += gap + length
    path = tmp_path_factory.getbasetemp() / "again.txt"
    write_librispeech_alignments(path, {"x": words})
    again = read_librispeech_alignments(path)["x"]
    assert texts(again) == texts(cover(words))
    for a, b in zip(again, cover(words), strict=True):
        assert (a.start_s, a.stop_s) == pytest.approx((b.start_s, b.stop_s), abs=1e-6)


# TextGrids


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_long_and_short_grids_in_every_encoding_are_the_same_words(tmp_path: Path, short: bool, encoding: str) -> None:
    words = [(0.0, 0.25, ""), (0.25, 0.5, "naïve"), (0.5, 1e-1 + 0.5, '"so"'), (0.6, 0.75, "")]
    mark = "\ufeff" if encoding.endswith("e") else ""
    (tmp_path / "a.TextGrid").write_bytes((mark + textgrid(words, short=short)).encode(encoding))
    assert read_textgrid(tmp_path / "a.TextGrid") == [
        Word("", 0, 0.25),
        Word("naïve", 0.25, 0.5),
        Word('"so"', 0.5, 0.6),
        Word("", 0.6, 0.75),
    ]


@pytest.mark.parametrize("label", ["", "sil", "sp", "SP", "SIL", "<eps>", " "])
def test_every_label_of_silence_is_a_pause_and_adjacent_ones_are_one(tmp_path: Path, label: str) -> None:
    path = grid(tmp_path, [(0, 0.1, "a"), (0.1, 0.3, label), (0.3, 0.4, "sp"), (0.4, 0.5, "b"), (0.5, 0.6, label)])
    assert read_textgrid(path) == [
        Word("", 0, 0),
        Word("a", 0, 0.1),
        Word("", 0.1, 0.4),
        Word("b", 0.4, 0.5),
        Word("", 0.5, 0.6),
    ]


def spoken(folder: Path, labels: str, text: str) -> list[str]:
    words = [(i, i + 1, label) for i, label in enumerate(labels.split())]
    return [word.text for word in read_textgrid(grid(folder, words), text) if word.text]


@pytest.mark.parametrize(
    ("labels", "text", "expected"),
    [
        ("go <unk> do", "GO XYLO DO", "GO XYLO DO"),
        ("<unk> spn", "ONE TWO", "ONE TWO"),
        ("hello world don't", '"Hello," World -- don\'t!', "Hello World don't"),
        ("twenty one men", "Twenty-one men.", "Twenty one men"),
        ("twenty-one men", "Twenty-one men.", "Twenty-one men"),
        ("mister <unk>", "Mr. Xylo", "mister Xylo"),
    ],
)
def test_words_are_spelled_and_unknown_ones_found_by_the_transcript(
    tmp_path: Path, labels: str, text: str, expected: str
) -> None:
    assert spoken(tmp_path, labels, text) == expected.split()


@pytest.mark.parametrize(
    ("labels", "text"), [("go do", "GO"), ("go", "GO DO"), ("go <unk> <unk>", "GO DO"), ("sil", "GO")]
)
def test_more_or_fewer_words_than_the_transcript_are_refused(tmp_path: Path, labels: str, text: str) -> None:
    with pytest.raises(TextMismatch, match="words are not those of the transcript"):
        spoken(tmp_path, labels, text)


def test_without_a_transcript_an_unknown_word_stays(tmp_path: Path) -> None:
    assert spoken(tmp_path, "go <unk>", "") == ["go", "<unk>"]


def test_the_tier_of_one_speaker_is_found_and_others_are_listed(tmp_path: Path) -> None:
    assert "hello" in texts(read_textgrid(grid(tmp_path, HELLO, tier="84 - words")))
    with pytest.raises(InputError, match="expected one tier `words`, found Mary, phones"):
        read_textgrid(grid(tmp_path, HELLO, tier="Mary"))


def test_tiers_of_points_are_passed_over(tmp_path: Path) -> None:
    head, rest = textgrid(HELLO, short=True).split("<exists>\n2\n")
    points = '"TextTier"\n"clicks"\n0\n1.2\n2\n0.1\n"x"\n0.2\n"y"\n'
    (tmp_path / "a.TextGrid").write_text(f"{head}<exists>\n3\n{points}{rest}")
    assert texts(read_textgrid(tmp_path / "a.TextGrid")) == ["", "hello", "world", ""]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: "", r":1: expected ooTextFile of a TextGrid, found the end of the file"),
        (lambda s: '{"tiers": {}}', r":1: not a TextGrid"),
        (lambda s: s.replace('"TextGrid"', '"PitchTier"'), r":2: not a TextGrid"),
        (lambda s: s[: s.index("world")], r":\d+: expected the text of an interval of a TextGrid, found the end of"),
        (
            lambda s: s.replace("intervals: size = 4", "intervals: size = 5"),
            r":32: expected xmin .* '\"IntervalTier\"'",
        ),
        (lambda s: s.replace("xmin = 0.5", "xmin = zero"), r":26: expected xmax of a TextGrid, found '\"world\"'"),
        (
            lambda s: s.replace("xmin = 0.5", "xmin = 0.4"),
            r":25: expected intervals in order, found 0.4 to 0.9 after 0.5",
        ),
        (lambda s: s.replace("xmin = 0.5", "xmin = 1e999"), r":24: expected xmin, found a number that is too large"),
    ],
)
def test_a_broken_grid_is_named_with_its_line(tmp_path: Path, change: object, message: str) -> None:
    (tmp_path / "a.TextGrid").write_text(change(textgrid(HELLO)))  # type: ignore[operator]
    with pytest.raises(InputError, match=r"a\.TextGrid" + message) as raised:
        read_textgrid(tmp_path / "a.TextGrid")
    assert "\n" not in str(raised.value)


def test_a_grid_becomes_a_line_of_the_text_format(tmp_path: Path) -> None:
    path = grid(tmp_path, [(0, 0.4, "go"), (0.4, 0.6, "sp"), (0.6, 0.9, "<unk>")])
    write_librispeech_alignments(tmp_path / "out.txt", {"84-1-0000": read_textgrid(path, "GO XYLO")})
    assert (tmp_path / "out.txt").read_text() == '84-1-0000 ",GO,,XYLO," "0.00,0.40,0.60,0.90,0.90"\n'
