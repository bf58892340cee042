"""Text of other programs: read as UTF-8, written without what a format cannot hold."""

from __future__ import annotations

import re
from pathlib import Path

from celltally.errors import UserError
from celltally.io._files import read_all

__all__ = ["MOST_BYTES", "for_xml", "one_line", "read_text", "whole"]

#: No file of positions is larger; what is would only fill the memory.
MOST_BYTES = 512 * 2**20
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def read_text(path: Path, kind: str, most: int = MOST_BYTES) -> str:
    """Return a file's content as text.

    Parameters
    ----------
    path
        The file, in UTF-8, with a byte order mark or without.
    kind
        What it should be, for the error ("no CSV file").
    most
        Bytes that it may have.

    Raises
    ------
    UserError
        When it cannot be read, is too large, or is no such text.
    """
    content = read_all(path, most)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path} is {kind}: it is not text in UTF-8") from None


def whole(text: str) -> str:
    """Replace what is no character (half of a surrogate pair, NUL), for it cannot be written."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "�")


def for_xml(text: str) -> str:
    """Replace what XML 1.0 has no place for."""
    return _NOT_XML.sub("�", text)


def one_line(text: str) -> str:
    """Return a text without tabs and line breaks, as tables need it that know no quotes."""
    return " ".join(whole(text).split())
