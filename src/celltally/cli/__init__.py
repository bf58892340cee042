"""The command line: a thin face; what the commands do lives in the rooms below.

Nothing heavy is imported before a command needs it, so that ``--help`` is quick.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer

from celltally import __version__
from celltally.cli import (
    agreeing,
    converting,
    counting,
    evaluating,
    explaining,
    finetuning,
    learning,
    looking,
    projecting,
    totals,
)
from celltally.cli._output import INTERRUPTED, failure, say
from celltally.errors import UserError

__all__ = ["app", "main", "run"]

# Wrong usage is told as everything else is: in one sentence.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="celltally",
    help="Count cells in microscopy images: how many, how sure, where and why.",
    epilog="Example: celltally count plate_3/ --out counts.csv",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (
    *(counting, learning, finetuning, evaluating, agreeing, explaining, projecting, converting),
    *(looking, totals),
):
    module.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"celltally {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _start(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(2)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    Parameters
    ----------
    arguments
        Without the program's name; None for those of this process.

    Returns
    -------
    int
        0 when all went well, 1 when some images failed, 2 for wrong arguments,
        130 when it was stopped with Ctrl-C.
    """
    command = typer.main.get_command(app)
    given = None if arguments is None else list(arguments)
    try:
        status = command.main(args=given, prog_name="celltally", standalone_mode=False)
    except UserError as error:
        failure(" ".join(str(error).split()))
        return 2
    except _UsageError as error:
        failure(_usage(error))
        return 2
    except (typer.Abort, KeyboardInterrupt):
        say("Stopped.")
        return INTERRUPTED
    return status if isinstance(status, int) else 0


def main() -> None:
    """Run the program ``celltally``."""
    for stream in (sys.stdout, sys.stderr):
        # File names may hold what the terminal's encoding does not.
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    # What libraries log is no sentence for the user; ours are said, not logged.
    logging.disable(logging.INFO)
    logging.getLogger().addHandler(logging.NullHandler())
    _log_defects()
    sys.exit(run())


def _log_defects() -> None:
    """Let the traceback of a defect go into a file, which only a defect brings about."""
    from platformdirs import user_log_path

    folder = user_log_path("celltally", appauthor=False)
    with contextlib.suppress(OSError):  # the sentence on the terminal must do then
        folder.mkdir(parents=True, exist_ok=True)
        file = logging.FileHandler(folder / "celltally.log", "w", encoding="utf-8", delay=True)
        file.setLevel(logging.ERROR)
        logging.getLogger("celltally").addHandler(file)


def _usage(error: BaseException) -> str:
    context = getattr(error, "ctx", None)
    sentence = " ".join(str(getattr(error, "message", "") or error).split()).rstrip(".")
    describe = getattr(error, "format_message", None)
    if describe is not None:
        sentence = " ".join(str(describe()).split()).rstrip(".")
    command = context.command_path if context is not None else "celltally"
    return f"{sentence}; see '{command} --help'"
