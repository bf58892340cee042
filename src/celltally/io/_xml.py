"""XML that a stranger wrote, read without entities, document types and what they can fetch."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from celltally.errors import UserError
from celltally.io._files import read_all, reason
from celltally.io._text import MOST_BYTES

__all__ = ["read_xml"]


def read_xml(path: Path) -> Element:
    """Return the root of an XML file.

    Raises
    ------
    UserError
        When it cannot be read, is broken, or declares entities or a document type.
    """
    try:
        root: Element = fromstring(read_all(path, MOST_BYTES), forbid_dtd=True)
    except DefusedXmlException:
        raise UserError(
            f"{path} declares a document type or entities, which could fetch or blow up "
            "anything; export it again without"
        ) from None
    except ParseError as error:
        line, column = getattr(error, "position", (0, 0))
        words = reason(error).partition(":")[0]
        raise UserError(
            f"{path} is no readable XML at line {line}, column {column} ({words}); it may be "
            "truncated: export it again"
        ) from None
    except (LookupError, ValueError) as error:  # an encoding that nobody knows
        raise UserError(f"{path} is no readable XML ({reason(error)}); export it again") from None
    return root
