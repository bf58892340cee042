"""The command line of the studies of what models count wrong."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from accuracy_lib.tables import replace_between_marks

from celltally.errors import UserError

__all__ = ["names_in", "new_parser", "publish", "run", "say"]


def new_parser(description: str | None, out: Path) -> argparse.ArgumentParser:
    """Parser with the options of every study.

    Parameters
    ----------
    description
        The program's text.
    out
        Folder that is written to where none is named.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, metavar="D", required=True, help="folder of the sets")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:0 or mps")
    add("--out", type=Path, default=out, metavar="DIR")
    add("--docs", type=Path, metavar="FILE", help="document whose tables are replaced")
    return parser


def run(
    write: Callable[[argparse.Namespace], None],
    parser: argparse.ArgumentParser,
    words: Sequence[str] | None,
) -> int:
    """Count what is missing and write everything; 2 for what cannot be used, 130 when stopped."""
    arguments = parser.parse_args(words)
    try:
        write(arguments)
    except UserError as error:
        say(f"Error: {error}")
        return 2
    except KeyboardInterrupt:
        say("Stopped; what was counted is kept, and the same command goes on from here.")
        return 130
    return 0


def publish(texts: Mapping[str, str], docs: Path | None, study: str) -> None:
    """Print texts, and put them between their marks in a document.

    Parameters
    ----------
    texts
        By name.
    docs
        None for no document.
    study
        What the marks' names begin with.
    """
    for name, text in texts.items():
        print(text)
        if docs is not None:
            replace_between_marks(docs, text, f"{study}, {name}")


def names_in(text: str) -> list[str]:
    """Split at commas; each name once."""
    return list(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))


def say(sentence: str) -> None:
    """Tell how far it is, beside the tables."""
    print(sentence, file=sys.stderr, flush=True)
