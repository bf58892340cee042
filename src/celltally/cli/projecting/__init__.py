"""``celltally project``: the images, counts and corrections of a study, in one file."""

from __future__ import annotations

import typer

from celltally.cli.projecting import (
    counting,
    filling,
    learning,
    locking,
    looking,
    recounting,
    suggesting,
    table,
)

__all__ = ["register"]

project = typer.Typer(
    name="project",
    help="Keep the images, counts and corrections of a study in one file.",
    epilog="Example: celltally project new study.celltally",
    rich_markup_mode=None,
)
# As the help lists them.
for module in (filling, counting, table, looking, locking, recounting, suggesting, learning):
    module.register(project)


@project.callback(invoke_without_command=True)
def _start(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(2)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(project)
