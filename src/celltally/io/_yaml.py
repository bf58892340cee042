"""YAML that a stranger wrote: lists, mappings and text, and nothing that it could construct."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from celltally.errors import UserError
from celltally.io._files import reason
from celltally.io._text import read_text

__all__ = ["read_yaml"]

#: It takes fifty times its size of memory.
_MOST_BYTES = 64 * 2**20
#: Nothing of ours is nested deeper; what is could exhaust the stack.
_DEEPEST = 16


def read_yaml(path: Path) -> Any:
    """Return the first document of a YAML file; all scalars are text.

    It is put together from the parser's events: ``yaml.safe_load`` would guess a type for
    every scalar, which takes fifteen times as long.

    Raises
    ------
    UserError
        When it cannot be read, is too large or too deep, refers to itself, or is no YAML.
    """
    import yaml

    text = read_text(path, "no YAML file", _MOST_BYTES)
    try:
        return _first_document(text, path)
    except UserError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = "" if mark is None else f" at line {mark.line + 1}"
        raise UserError(
            f"{path} is no readable YAML{line} ({error.problem}); it may be truncated: "
            "export it again"
        ) from None
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{path} is no readable YAML ({reason(error)}); export it again") from None


def _first_document(text: str, path: Path) -> Any:
    import yaml

    # Without libyaml the pure parser does the same, ten times slower.
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    document: list[Any] = []
    open_ones: list[tuple[Any, list[Any]]] = [(None, document)]  # the event, and what is in it
    for event in yaml.parse(text, Loader=loader):
        where = f"{path}, line {event.start_mark.line + 1 if event.start_mark else 1}"
        if isinstance(event, yaml.DocumentEndEvent):
            break
        if isinstance(event, yaml.AliasEvent):
            raise UserError(f"{where} refers to another place in the file; write it out")
        if isinstance(event, yaml.ScalarEvent):
            open_ones[-1][1].append(event.value)
        elif isinstance(event, yaml.CollectionStartEvent):
            if len(open_ones) > _DEEPEST:
                raise UserError(
                    f"{where} is nested more than {_DEEPEST} deep, which no list of cells is; "
                    "export it again"
                )
            open_ones.append((event, []))
        elif isinstance(event, yaml.CollectionEndEvent):
            start, items = open_ones.pop()
            if isinstance(start, yaml.MappingStartEvent):
                open_ones[-1][1].append({str(k): v for k, v in zip(items[::2], items[1::2])})  # noqa: B905
            else:
                open_ones[-1][1].append(items)
    return document[0] if document else None
