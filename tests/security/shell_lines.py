"""The workflow as Python, by snakemake's own parser, and what stands in its shell lines."""

from __future__ import annotations

import ast
import string
from pathlib import Path
from types import SimpleNamespace

from snakemake.parser import parse


class _Path(str):
    def get_path_or_uri(self, *args: object, **options: object) -> str:
        return str(self)


def as_python(path: Path) -> str:
    """The Python that snakemake makes of a Snakefile or a .smk file."""
    workflow = SimpleNamespace(sourcecache=SimpleNamespace(open=open))
    return parse(_Path(path), workflow, {})[0]


def constants(sources: list[str]) -> dict[str, str]:
    """The texts that the workflow has given a name at its top level."""
    named = [node for source in sources for node in ast.parse(source).body if isinstance(node, ast.Assign)]
    texts = [(n.targets[0], n.value) for n in named if isinstance(n.value, ast.Constant)]
    return {target.id: str(text.value) for target, text in texts if isinstance(target, ast.Name)}


def shell_lines(source: str, named: dict[str, str]) -> list[str]:
    """The texts of a workflow's shell lines; of one that is put together at run time, `{made at run time}` instead."""
    found = []
    for node in ast.walk(ast.parse(source)):
        name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        if name in ("shell", "workflow.shellcmd"):
            found.append(_text(node.args[0], named))  # type: ignore[attr-defined]
    return found


def _text(node: ast.expr, named: dict[str, str]) -> str:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left, named) + _text(node.right, named)
    if isinstance(node, ast.Name) and node.id in named:
        return named[node.id]
    return str(node.value) if isinstance(node, ast.Constant) else "{made at run time}"


def unquoted(line: str) -> list[str]:
    """The placeholders of a shell line that are not quoted with `:q`."""
    return [name for _, name, form, _ in string.Formatter().parse(line) if name is not None and form != "q"]
