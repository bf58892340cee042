"""Zip files that a stranger wrote: nothing is unpacked to the disk, and not without end."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from celltally.errors import UserError
from celltally.io._files import read_all, reason
from celltally.io._text import MOST_BYTES

__all__ = ["MOST_ENTRIES", "MOST_UNPACKED", "read_zip", "write_zip"]

MOST_ENTRIES = 100_000
#: Bytes that all entries may have together, unpacked.
MOST_UNPACKED = 512 * 2**20


def read_zip(path: Path, suffix: str) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every entry with a suffix.

    Raises
    ------
    UserError
        When the file is broken, encrypted, names a place outside of it, or would unpack to
        more than ``MOST_UNPACKED`` bytes or ``MOST_ENTRIES`` entries.
    """
    content = read_all(path, MOST_BYTES)
    name = ""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            entries = file.infolist()
            _check(path, entries)
            left = MOST_UNPACKED
            for entry in entries:
                name = entry.filename
                if entry.is_dir() or not _wanted(name, suffix):
                    continue
                with file.open(entry) as stream:
                    data = stream.read(left + 1)
                left -= len(data)
                if left < 0:
                    raise _too_large(path)
                yield name, data
    except UserError:
        raise
    except Exception as error:  # a damaged archive can fail in any part of the library
        at = f" at its entry {name[:80]!r}" if name else ""
        raise UserError(
            f"{path} is no readable zip file{at} ({reason(error)}); it may be truncated: "
            "export it again"
        ) from None


def _wanted(name: str, suffix: str) -> bool:
    """Whether an entry is one of a kind, and not what macOS puts beside it."""
    last = PurePosixPath(name).name
    return last.lower().endswith(suffix) and not last.startswith("._")


def _check(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    if len(entries) > MOST_ENTRIES:
        raise UserError(
            f"{path} has {len(entries)} entries, more than the {MOST_ENTRIES} that are read; "
            "export fewer at once"
        )
    if sum(entry.file_size for entry in entries) > MOST_UNPACKED:
        raise _too_large(path)
    for entry in entries:
        parts = PurePosixPath(entry.filename.replace("\\", "/"))
        drive = bool(parts.parts) and parts.parts[0][1:2] == ":"
        if parts.is_absolute() or ".." in parts.parts or drive:
            raise UserError(
                f"{path} has an entry {entry.filename[:80]!r} that points out of the file; "
                "it is refused: export it again"
            )
        if entry.flag_bits & 1:
            raise UserError(f"{path} is encrypted; unpack it and pack it without a password")


def _too_large(path: Path) -> UserError:
    return UserError(
        f"{path} unpacks to more than {MOST_UNPACKED >> 20} MB, which no set of points needs; "
        "check where it is from"
    )


def write_zip(entries: dict[str, bytes]) -> bytes:
    """Return a zip file with entries by name; the same ones give the same bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in entries.items():
            file.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return content.getvalue()
