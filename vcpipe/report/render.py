"""From a template to a page that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def render(name: str, **values: Any) -> str:
    """`<name>.html` filled in, with the common style, `<name>.css` and, where there is one, `<name>.js` inside."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = "".join((HERE / f"{stem}.css").read_text(encoding="utf-8") for stem in ("page", name))
    script = HERE / f"{name}.js"
    code = script.read_text(encoding="utf-8") if script.is_file() else ""
    return environment.get_template(f"{name}.html").render(style=style, script=code, **values)
