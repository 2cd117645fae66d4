"""A Chromium of this machine for the tests of pages, with what a page must not do written down."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = ("gpu", "quic", "background-networking", "component-update", "sync", "dev-shm-usage")
Open = Callable[..., "Watched"]


class Watched:
    """A page, what it asked for, and what went wrong on it."""

    def __init__(self, page: Any, folder: Path):
        self.page, self.folder = page, folder
        self.asked: list[str] = []
        self.wrong: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("requestfailed", lambda r: self.wrong.append(f"{r.url}: {r.failure}") if _failed(r) else None)
        page.on("console", lambda said: self.wrong.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))

    @property
    def media(self) -> list[str]:
        """The sounds that were asked for, in order."""
        return [url for url in self.asked if url.endswith((".wav", ".flac"))]

    def check(self) -> None:
        """Nothing was asked for but files of the folder, and nothing was complained about."""
        inside = (self.folder.as_uri() + "/", "data:", "blob:")
        assert [url for url in self.asked if not url.startswith(inside)] == []
        assert self.wrong == []

    def wide(self) -> bool:
        """Whether the page is wider than its window."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


def _failed(request: Any) -> bool:
    """A sound that another one took the place of while it came is no failure."""
    return not (request.resource_type == "media" and "ERR_ABORTED" in str(request.failure))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser for all tests of a file; they are skipped where there is none."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install playwright)")
    with api.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        browser = playwright.chromium.launch(
            executable_path=program, args=[*arguments, *(f"--disable-{name}" for name in QUIET)]
        )
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Open]:
    """Opens a file of a folder in a browser without a past: `open_page(folder, "listen.html#x", width=390)`.

    Whatever was opened is checked at the end of the test.
    """
    opened: list[Watched] = []
    contexts = []

    def open_it(folder: Path, name: str, width: int = 1200, **options: Any) -> Watched:
        context = chromium.new_context(viewport={"width": width, "height": 800}, **options)
        context.set_default_timeout(30_000)
        contexts.append(context)
        watched = Watched(context.new_page(), folder)
        opened.append(watched)
        file, _, place = name.partition("#")
        watched.page.goto((folder / file).as_uri() + (f"#{place}" if place else ""))
        return watched

    yield open_it
    for watched in opened:
        watched.check()
    for context in contexts:
        context.close()
