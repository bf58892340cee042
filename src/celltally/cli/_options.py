"""Options that several commands share, so that they are called and explained alike."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["AsJson", "Device", "Level", "ModelName"]

ModelName = Annotated[str, typer.Option(help="A model's name or folder.")]
Level = Annotated[float, typer.Option(help="Level of the intervals.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:0 or mps.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
