"""JSON that a stranger wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from celltally.errors import UserError
from celltally.io._files import reason
from celltally.io._text import MOST_BYTES, read_text

__all__ = ["read_json"]


def read_json(path: Path, most: int = MOST_BYTES) -> Any:
    """Return what a JSON file holds.

    Raises
    ------
    UserError
        When it cannot be read, is too large, or is no JSON.
    """
    text = read_text(path, "no JSON file", most)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path} is no readable JSON at line {error.lineno}, column {error.colno} "
            f"({error.msg.lower()}); it may be truncated: export it again"
        ) from None
    except (RecursionError, ValueError) as error:  # nested without end; a number without end
        raise UserError(f"{path} is no readable JSON ({reason(error)}); export it again") from None
