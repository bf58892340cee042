"""``counts.csv``: its columns, and a file of them that a kill cannot spoil."""

from __future__ import annotations

import contextlib
import csv
import io
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from celltally.batch.settings import Z_OF_STACK
from celltally.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "CountsFile", "Row", "check_writable", "read_counts", "typed"]

#: The columns of ``counts.csv``, in their order (scripts rely on it).
COLUMNS = (
    *("image", "t", "z", "class", "count", "ci_low", "ci_high", "level", "interval_kind"),
    *("n_dots", "diameter_px", "model", "model_sha256", "calibration_sha256"),
    *("in_distribution", "seconds", "status", "message"),
)
_WHOLE = ("t", "z", "n_dots")
_NUMBERS = ("count", "ci_low", "ci_high", "level", "diameter_px", "seconds")

#: A row as it stands in the file: text by column, "" where there is nothing.
Row = dict[str, str]

# File names may hold bytes that are no UTF-8; they go into the file as they are.
_ENCODING = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}


def read_counts(path: Path) -> list[Row]:
    """Read a table of counts; a last row that a kill cut off is left out.

    Returns
    -------
    list of Row
        Empty where there is no file, or an empty one.

    Raises
    ------
    UserError
        When something else lies there, or someone took columns from a row: it is not
        ours to replace.
    """
    if not os.path.lexists(path):
        return []
    foreign = UserError(
        f"{path} exists and is no table of counts; choose another place for the table"
    )
    if not path.is_file():
        raise foreign
    try:
        with path.open(**_ENCODING) as file:  # type: ignore[call-overload]
            text: str = file.read()
        if not text:
            return []
        whole = text[: text.rfind("\n") + 1]
        header, *records = list(csv.reader(io.StringIO(whole, newline=""))) or [[]]
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); choose another place") from None
    except csv.Error:
        raise foreign from None
    if tuple(header) != COLUMNS:
        raise foreign
    for number_of_row, record in enumerate(records, start=2):
        if record and len(record) != len(COLUMNS):
            raise UserError(
                f"{path} cannot be gone on with: its row {number_of_row} has {len(record)} columns "
                f"instead of {len(COLUMNS)}; mend it or choose another place for the table"
            )
    return [dict(zip(COLUMNS, record, strict=True)) for record in records if record]


def check_writable(path: Path) -> None:
    """Find out before the work whether a file can be written at a place.

    Raises
    ------
    UserError
        When its folder is missing or may not be written to, or the place is a
        folder or a protected file.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder; give a file name for the table, such as counts.csv")
    if not path.parent.is_dir():
        raise UserError(
            f"{path} cannot be written: there is no folder {path.parent}; make it first"
        )
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(0, "Permission denied")
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({str(error.strerror).lower()}); choose another place"
        ) from None


class CountsFile:
    """A table that grows by a row as each image is counted.

    The rows stand in the file itself as they come, so that a kill at any moment
    leaves all that were done. What the file held before is never lost half-way:
    where counts in it are to be replaced, a copy of it is set aside first
    (``counts.csv.bak``, with a number where there is one already), and taken away
    only by ``finish``, and only when each of these images, at the same time point, was
    counted again.

    Parameters
    ----------
    path
        Where to.
    kept
        Rows to begin with.
    replaced
        Rows of the earlier table that are to be counted again.
    """

    def __init__(self, path: Path, kept: Sequence[Row] = (), replaced: Sequence[Row] = ()) -> None:
        self.path = path
        self.backup: Path | None = None
        self._replaced = [row for row in replaced if row["status"] == "ok"]
        try:
            if self._replaced:
                self.backup = _free_name(path)
                shutil.copy2(path, self.backup)
            self._replace(kept)
            self._file: TextIO = path.open("a", **_ENCODING)  # type: ignore[call-overload]
        except OSError as error:
            raise _unwritable(path, error) from None

    def __enter__(self) -> CountsFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A full disk makes closing fail as well; that was told when it was written to.
        with contextlib.suppress(OSError):
            self._file.close()

    def append(self, row: Row) -> None:
        """Add a row and hand it to the system at once.

        Raises
        ------
        UserError
            When the disk is full or gone.
        """
        try:
            self._file.write(_lines([row]))
            self._file.flush()
        except OSError as error:
            raise _unwritable(self.path, error) from None

    def finish(self, rows: Sequence[Row]) -> None:
        """Put all rows into their final order; the set-aside copy goes where it may.

        Raises
        ------
        UserError
            When the disk is full or gone; the rows are then there in the order
            in which they were counted.
        """
        try:
            self._file.close()
            self._replace(rows)
            counted = {_counted_in(row) for row in rows if row["status"] == "ok"}
            if self.backup is not None and {_counted_in(row) for row in self._replaced} <= counted:
                self.backup.unlink()
                self.backup = None
        except OSError as error:
            raise _unwritable(self.path, error) from None

    def _replace(self, rows: Sequence[Row]) -> None:
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("w", **_ENCODING) as file:  # type: ignore[call-overload]
                file.write(",".join(COLUMNS) + "\n" + _lines(rows))
            temporary.replace(self.path)
        finally:
            temporary.unlink(missing_ok=True)


def typed(rows: Iterable[Row]) -> pd.DataFrame:
    """Rows as a data frame: whole numbers, numbers, truth values and text, NA where empty.

    Where a row is of no single plane, z holds ``max`` (a projection) or ``merged`` beside the
    whole numbers of other rows, as objects.
    """
    import pandas as pd

    table = pd.DataFrame(list(rows), columns=list(COLUMNS), dtype=object)
    for name in _WHOLE:
        given = table[name]
        table[name] = pd.to_numeric(given, errors="coerce").astype("Int64")
        if name == "z" and (stack := given.isin(Z_OF_STACK.values())).any():
            table[name] = table[name].astype(object).where(~stack, given)
    for name in _NUMBERS:
        table[name] = pd.to_numeric(table[name], errors="coerce").astype("float64")
    truth = table["in_distribution"].map({"true": True, "false": False})
    table["in_distribution"] = truth.astype("boolean")
    return table


def _counted_in(row: Row) -> tuple[str, str]:
    """Image and time point that a row is of."""
    return row["image"], row["t"]


def number(value: float, digits: int) -> str:
    """Figure for a cell of the table; "" where it is not finite."""
    return f"{value:.{digits}f}" if math.isfinite(value) else ""


def one_line(text: str) -> str:
    """Text without line breaks and other control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _lines(rows: Iterable[Row]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writerows(rows)
    return text.getvalue()


def _free_name(path: Path) -> Path:
    backup, n = path.with_name(f"{path.name}.bak"), 1
    while os.path.lexists(backup):
        n += 1
        backup = path.with_name(f"{path.name}.bak{n}")
    return backup


def _unwritable(path: Path, error: OSError) -> UserError:
    return UserError(
        f"{path} could not be written ({str(error.strerror or error).lower()}); "
        "what it holds so far is kept: make room or choose another place, and go on with --resume"
    )
