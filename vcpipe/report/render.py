"""From a template to a page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def render(name: str, shared: Sequence[str] = ("page",), **values: Any) -> str:
    """`<name>.html` filled in, with the `shared` styles, `<name>.css` and, where there is one, `<name>.js` inside."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = "".join((HERE / f"{stem}.css").read_text(encoding="utf-8") for stem in (*shared, name))
    script = HERE / f"{name}.js"
    code = script.read_text(encoding="utf-8") if script.is_file() else ""
    return environment.get_template(f"{name}.html").render(style=style, script=code, **values)


def render_site(name: str, here: str, root: str = "", **values: Any) -> str:
    """The same for a page of the report site, whose template extends `site.html`: with its style and navigation.

    Args:
        name: of the template.
        here: `overview`, `listen` or `failures`, the link that is marked as the page itself; else nothing is.
        root: from the page to the folder of the site: empty, or `../`.
        values: for the template.
    """
    return render(name, ("page", "stats_page", "site"), here=here, root=root, **values)
