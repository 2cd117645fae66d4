"""Options that the commands of several modules share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

PathOption = Annotated[Path, typer.Option()]
SliceOption = Annotated[str, typer.Option("--slice", help="the part of the config that the stage depends on, as JSON")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")]
ThreadsOption = Annotated[int, typer.Option(help="CPU threads; 0: the library's own choice")]
