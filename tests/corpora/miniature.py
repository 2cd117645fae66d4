"""Small official-layout trees: a scan never opens a recording, so these are empty."""

from __future__ import annotations

from pathlib import Path


def touch(root: Path, *names: str) -> Path:
    """Empty files below `root`, which is returned."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def write(root: Path, texts: dict[str, str]) -> Path:
    """Text files below `root`, which is returned."""
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8", newline="")
    return root


def textgrid(words: list[tuple[float, float, str]], tier: str = "words", short: bool = False) -> str:
    """A TextGrid with the tiers `words` and `phones` as the aligner writes it."""
    stop = words[-1][1]
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', ""]
    quoted = [(a, b, '"' + text.replace('"', '""') + '"') for a, b, text in words]
    phones = [(0, stop, '"spn"')]
    if short:
        lines += ["0", f"{stop}", "<exists>", "2"]
        for name, rows in ((tier, quoted), ("phones", phones)):
            lines += ['"IntervalTier"', f'"{name}"', "0", f"{stop}", f"{len(rows)}"]
            lines += [str(value) for row in rows for value in row]
        return "\n".join(lines) + "\n"
    lines += ["xmin = 0 ", f"xmax = {stop} ", "tiers? <exists> ", "size = 2 ", "item []: "]
    for i, (name, rows) in enumerate(((tier, quoted), ("phones", phones)), 1):
        lines += [f"    item [{i}]:", '        class = "IntervalTier" ', f'        name = "{name}" ']
        lines += ["        xmin = 0 ", f"        xmax = {stop} ", f"        intervals: size = {len(rows)} "]
        for n, (a, b, text) in enumerate(rows, 1):
            lines += [f"        intervals [{n}]:", f"            xmin = {a} ", f"            xmax = {b} "]
            lines += [f"            text = {text} "]
    return "\n".join(lines) + "\n"


HELLO = [(0.0, 0.3, ""), (0.3, 0.5, "hello"), (0.5, 0.9, "world"), (0.9, 1.2, "")]
