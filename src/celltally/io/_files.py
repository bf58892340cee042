"""What every format needs of the file system: sentences for its errors, safe writing."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

from celltally.errors import UserError

__all__ = ["quiet", "read_all", "read_head", "reason", "unreadable", "write_atomically"]


def reason(error: BaseException) -> str:
    """Return an error's message as part of a sentence: one line, no full stop."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    words = " ".join(str(error).split())
    return (words[:157] + "…" if len(words) > 160 else words).rstrip(".") or type(error).__name__


def unreadable(path: Path, error: BaseException) -> UserError:
    """Return the error for a file that breaks off or is damaged inside."""
    if isinstance(error, MemoryError):
        return UserError(
            f"{path} needs more memory than there is, or states a wrong size; "
            "cut it into parts, or export it again"
        )
    return UserError(
        f"{path} cannot be read: it may be truncated or damaged ({reason(error)}); "
        "copy or export it again"
    )


def read_head(path: Path, size: int = 32) -> bytes:
    """Return the first bytes of a file.

    Raises
    ------
    UserError
        When it is missing, a folder, empty, or may not be read.
    """
    try:
        if not (path.is_file() or path.is_dir()) and path.exists():
            raise UserError(f"{path} is no file but a device or a pipe; give a file")
        with path.open("rb") as file:
            head = file.read(size)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; check the path") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; give a file") from None
    except PermissionError:
        # Opening a folder is a question of permission on some systems.
        if path.is_dir():
            raise UserError(f"{path} is a folder; give a file") from None
        raise UserError(
            f"{path} may not be read; ask its owner for permission, or copy it"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be opened ({reason(error)}); check the path") from error
    if not head:
        raise UserError(f"{path} is empty (0 bytes); copy or export it again")
    return head


def read_all(path: Path, most: int) -> bytes:
    """Return the content of a file that is no larger than it should be.

    Raises
    ------
    UserError
        As ``read_head``, and when it has more than ``most`` bytes.
    """
    read_head(path, 1)
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({reason(error)})") from error
    if len(content) > most:
        raise UserError(
            f"{path} is larger than {most >> 20} MB, which no file of its kind is; "
            "check what it holds"
        )
    return content


def write_atomically(path: Path, content: bytes) -> None:
    """Write a whole file or nothing: a file that was there stays until all is written.

    Raises
    ------
    UserError
        When the folder is missing or full, or may not be written to.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise UserError(
            f"{path} cannot be written ({reason(error)}); choose another place"
        ) from error


@contextlib.contextmanager
def quiet(logger: str) -> Iterator[list[str]]:
    """Keep what a library logs off the screen, and give it to the caller instead.

    Only what this thread causes is kept; others may be reading as well.
    """
    said: list[str] = []
    here = threading.get_ident()

    def keep(record: logging.LogRecord) -> bool:
        if record.thread == here:
            said.append(record.getMessage())
        return record.thread != here

    log = logging.getLogger(logger)
    log.addFilter(keep)
    try:
        yield said
    finally:
        log.removeFilter(keep)
