"""What an experiment says of its images: from a plate map (CSV), or from the files' names."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from celltally.errors import UserError
from celltally.project.edits import Edit
from celltally.project.images import COLUMNS, ImageEntry, all_images, set_columns
from celltally.project.store import Store
from celltally.project.work import record

__all__ = [
    "LONGEST_NAME",
    "Assignment",
    "PlateMap",
    "Preview",
    "apply",
    "from_names",
    "from_plate_map",
    "pattern_of",
    "read_plate_map",
    "well_name",
]

#: Columns of a plate map that name an image.
_NAMES = ("image", "file", "filename", "file_name", "path")
#: What columns are called elsewhere.
_SYNONYMS = {
    "well_name": "well",
    "wellname": "well",
    "well_id": "well",
    "field": "site",
    "treatment": "condition",
    "plate_name": "plate",
    "plate_id": "plate",
    "rep": "replicate",
}
#: Wells of plates with up to 1,536 wells: rows A to Z and AA to AF.
_WELL = re.compile(r"([A-Z]|A[A-F])\s*0*([1-9]\d?)", re.IGNORECASE)
#: Parts of a pattern whose shape is known; anything else is text without a separator.
_SHAPES = {"well": r"[A-Za-z]{1,2}\d{1,2}", "site": r"\d+", "replicate": r"[A-Za-z0-9]+"}
_ANY = r".+?"
#: Longest file name that patterns are tried on: file systems have no longer ones.
LONGEST_NAME = 255


@dataclass(frozen=True)
class PlateMap:
    """A plate map as it stands in its file.

    Attributes
    ----------
    path
        The file.
    columns
        Names of its columns, as the project calls them.
    rows
        Text by column, one row each.
    lines
        Line of the file of each row.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, str], ...]
    lines: tuple[int, ...]


@dataclass(frozen=True)
class Assignment:
    """What would be set for an image.

    Attributes
    ----------
    entry
        The image as it is.
    values
        Text by column.
    changes
        Names of the columns that would become different.
    """

    entry: ImageEntry
    values: Mapping[str, str]
    changes: tuple[str, ...]


@dataclass(frozen=True)
class Preview:
    """What a plate map or a pattern would do, to be shown before it is done.

    Attributes
    ----------
    source
        The file's name, or the pattern.
    columns
        That would be set, in order.
    assignments
        One for each image that something is known of.
    without
        Images of which nothing is known.
    unmatched
        Rows of the plate map that name no image of the project, in words.
    several
        Rows that name more than one by the same name, in words.
    """

    source: str
    columns: tuple[str, ...]
    assignments: tuple[Assignment, ...]
    without: tuple[ImageEntry, ...] = ()
    unmatched: tuple[str, ...] = ()
    several: tuple[str, ...] = ()

    @property
    def changed(self) -> int:
        """Number of images for which something would become different."""
        return sum(bool(one.changes) for one in self.assignments)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the user should read."""
        n = len(self.assignments)
        said = [
            f"{self.source} tells {', '.join(self.columns) or 'nothing'} of "
            f"{n} image{'s' * (n != 1)}; for {self.changed} of them something changes."
        ]
        if self.without:
            said.append(_named("Nothing is known of", [e.name for e in self.without]))
        if self.unmatched:
            said.append(_named("No image of the project fits", self.unmatched))
        if self.several:
            all_of_them = "All images of a name are set; give its folder where one is meant:"
            said.append(_named(all_of_them, self.several))
        return tuple(said)


def well_name(text: str) -> str:
    """Return a well as ``A01``, however it is written (``A1``, ``a 01``); else the text itself."""
    found = _WELL.fullmatch(text.strip())
    return text.strip() if found is None else f"{found[1].upper()}{int(found[2]):02d}"


# ---- a plate map ----


def read_plate_map(path: str | Path) -> PlateMap:
    """Read a plate map: a CSV table whose rows name images, or wells.

    Commas, semicolons or tabs separate; the first line names the columns. Capital letters and
    spaces in names do not matter; ``treatment`` is taken for ``condition``, ``field`` for
    ``site``.

    Raises
    ------
    UserError
        When it cannot be read, has no rows, names a column twice, or has neither a column for
        images nor one for wells.
    """
    path = Path(path)
    lines = _text(path).splitlines()
    if not lines:
        raise UserError(f"{path} is empty; give a table with a column 'image' or 'well'")
    separator = max(",;\t", key=lines[0].count)
    reader = csv.reader(io.StringIO("\n".join(lines), newline=""), delimiter=separator)
    rows: list[dict[str, str]] = []
    numbers: list[int] = []
    try:
        header = [_column(cell) for cell in next(reader)]
        for cells in reader:
            if any(cell.strip() for cell in cells):
                if len(cells) > len(header):
                    raise UserError(
                        f"{path}, line {reader.line_num}, has {len(cells)} values for "
                        f"{len(header)} columns; put quotation marks round text with a comma"
                    )
                values = [cell.strip() for cell in cells]
                rows.append(dict(zip(header, values, strict=False)))
                numbers.append(reader.line_num)
    except csv.Error as error:
        raise UserError(f"{path} is no CSV table ({error}); export it again") from None
    named = [name for name in header if name]
    for name in named:
        if named.count(name) > 1:
            raise UserError(f"{path} has the column {name!r} twice; leave one of them")
    if not {"well", *_NAMES} & set(named):
        raise UserError(
            f"{path} has neither a column 'image' nor one 'well'; its columns are "
            f"{', '.join(named) or 'none'}"
        )
    if not rows:
        raise UserError(f"{path} has no rows below its header; fill it in")
    told = [{name: value for name, value in row.items() if name} for row in rows]
    return PlateMap(path, tuple(named), tuple(told), tuple(numbers))


def from_plate_map(store: Store, plate_map: PlateMap) -> Preview:
    """Say what a plate map would set.

    An image is found by a row's file name, with or without its suffix or folder; where rows
    name no images, by its well, and by its plate and site where the row has these. Several
    rows may tell of one image as long as they do not contradict each other. A name that several
    images have is of all of them, which the preview says.

    Raises
    ------
    UserError
        When two rows say different things of one image.
    """
    entries = all_images(store)
    by_name = next((name for name in _NAMES if name in plate_map.columns), None)
    # What an image is found by is not set.
    keys = () if by_name is not None else ("well", "plate", "site")
    columns = tuple(name for name in plate_map.columns if name not in keys and name not in _NAMES)
    values: dict[int, dict[str, str]] = {}
    told_at: dict[tuple[int, str], int] = {}
    unmatched, several = [], []
    names = _by_name(entries)
    wells: dict[str, list[ImageEntry]] = {}
    for entry in entries:
        wells.setdefault(well_name(entry.well), []).append(entry)
    for row, line in zip(plate_map.rows, plate_map.lines, strict=True):
        if by_name is not None and row.get(by_name):
            found = _named_by(names, row[by_name])
            what = row[by_name]
            if len(found) > 1:
                several.append(f"{what} (line {line}) fits {len(found)} images")
        else:
            near = wells.get(well_name(row.get("well", "")), []) if row.get("well") else []
            found = [entry for entry in near if _fits(entry, row)]
            what = " ".join(row[k] for k in ("plate", "well", "site") if row.get(k)) or "no name"
        if not found:
            unmatched.append(f"{what} (line {line})")
        for entry in found:
            for name in columns:
                if not (text := row.get(name, "")):
                    continue
                text = well_name(text) if name == "well" else text
                before = values.setdefault(entry.id, {}).setdefault(name, text)
                if before != text:
                    other = told_at[entry.id, name]
                    raise UserError(
                        f"{plate_map.path} says two things of {entry.name}: its {name} is "
                        f"{before!r} in line {other} and {text!r} in line {line}; mend one of them"
                    )
                told_at.setdefault((entry.id, name), line)
    told = tuple(unmatched), tuple(several)
    return _preview(plate_map.path.name, columns, entries, values, *told)


def _by_name(entries: Sequence[ImageEntry]) -> dict[str, list[ImageEntry]]:
    """Images by everything that a plate map may call them, in small letters."""
    found: dict[str, list[ImageEntry]] = {}
    for entry in entries:
        names = {entry.name, Path(entry.name).stem}
        if entry.path is not None:
            names |= {entry.path.name, entry.path.stem, entry.path.as_posix()}
        for name in names:
            found.setdefault(name.casefold(), []).append(entry)
    return found


def _named_by(names: Mapping[str, list[ImageEntry]], text: str) -> list[ImageEntry]:
    """Images that a cell names: as it stands, else its last part, else that without suffix.

    Of files of one name in several folders it is those whose folder it names, if it does.
    """
    plain = text.replace("\\", "/").casefold()
    folder, _, last = plain.rpartition("/")
    for name in (plain, last, last.rsplit(".", 1)[0]):
        if found := names.get(name, []):
            several = len({entry.path for entry in found}) > 1
            return [e for e in found if _is_in(e, folder)] if folder and several else found
    return []


def _is_in(entry: ImageEntry, folder: str) -> bool:
    """Whether an image's file is in a folder, of which the last parts are named."""
    if entry.path is None:
        return False
    return f"/{entry.path.parent.as_posix().casefold()}".endswith(f"/{folder.lstrip('./')}")


def _fits(entry: ImageEntry, row: Mapping[str, str]) -> bool:
    """Whether an image is of a row's plate and site, as far as the row names these."""
    plate, site = row.get("plate", ""), row.get("site", "")
    if plate and plate.casefold() != entry.plate.casefold():
        return False
    return not site or site == entry.site or _whole(site) == _whole(entry.site) != ""


def _whole(text: str) -> str:
    """Return a number without zeros in front; "" for other text."""
    return str(int(text)) if text.isdecimal() else ""


# ---- the files' names ----


def pattern_of(text: str) -> re.Pattern[str]:
    r"""Return what reads columns from a file name.

    Parameters
    ----------
    text
        Such as ``{plate}_{well}_s{site}.tif``: each part in braces is a column, everything else
        stands in the name as it is, and ``*`` is for any text. Or a regular expression with
        named groups, such as ``(?P<well>[A-H]\d\d)``, which may be found anywhere in the name.

    Raises
    ------
    UserError
        When it names no column, one twice, or is no regular expression.

    Notes
    -----
    Python's expressions go back and try again: one with a repetition in a repetition, such as
    ``(?P<well>(a+)+)$``, takes twice the time for each further letter of a name that nearly
    fits. ``from_names`` passes over names of more than ``LONGEST_NAME`` characters, which bounds
    what patterns in braces take. It does not bound that: such an expression can take for ever on
    forty letters, and has to be written without the inner repetition.
    """
    if "(?P<" in text:
        try:
            compiled = re.compile(text)
        except re.error as error:
            raise UserError(
                f"the pattern {text!r} is no regular expression ({error}); mend it, or write it "
                "as in {plate}_{well}_s{site}.tif"
            ) from None
        renamed = {_column(name) for name in compiled.groupindex}
        if len(renamed) < len(compiled.groupindex):
            raise UserError(f"the pattern {text!r} names a column twice; leave one of them")
        return compiled
    names = re.findall(r"\{([^{}]*)\}", text)
    if not names:
        raise UserError(
            f"the pattern {text!r} names no column: write it as in {{plate}}_{{well}}_s{{site}}.tif"
        )
    expression = ""
    seen: set[str] = set()
    for part in re.split(r"(\{[^{}]*\}|\*)", text):
        if not part.startswith("{"):
            expression += ".*?" if part == "*" else re.escape(part)
            continue
        name = _column(part[1:-1])
        if not name.isidentifier():
            raise UserError(
                f"the pattern {text!r} has a column {part[1:-1]!r}: a name is letters, digits and _"
            )
        if name in seen:
            raise UserError(f"the pattern {text!r} has the column {name!r} twice; leave one out")
        seen.add(name)
        expression += f"(?P<{name}>{_SHAPES.get(name, _ANY)})"
    return re.compile(f"^{expression}$")


def from_names(store: Store, pattern: str) -> Preview:
    """Say what a file name pattern would set; see ``pattern_of``.

    A pattern in braces without a suffix fits names whatever their suffix is. Names of more than
    ``LONGEST_NAME`` characters fit no pattern.

    Raises
    ------
    UserError
        When the pattern cannot be used.
    """
    reader = pattern_of(pattern)
    entries = all_images(store)
    columns = tuple(_column(name) for name in reader.groupindex)
    values: dict[int, dict[str, str]] = {}
    for entry in entries:
        if len(entry.name) > LONGEST_NAME:
            continue
        found = reader.search(entry.name) or reader.search(Path(entry.name).stem)
        if found is None:
            continue
        told = {_column(name): text for name, text in found.groupdict().items() if text}
        if "well" in told:
            told["well"] = well_name(told["well"])
        values[entry.id] = told
    return _preview(pattern, columns, entries, values)


# ---- both ----


def apply(store: Store, preview: Preview, *, author: str | None = None) -> int:
    """Set what a preview shows; the log keeps who did it, and what was there before.

    Returns
    -------
    int
        Number of images for which something became different.

    Raises
    ------
    UserError
        When the project cannot be written.
    """
    changed = [one for one in preview.assignments if one.changes]
    if not changed:
        return 0
    before = {
        str(one.entry.id): {name: [_of(one.entry, name), one.values[name]] for name in one.changes}
        for one in changed
    }
    detail = {"source": preview.source, "columns": list(preview.columns), "changed": before}
    with store.write():  # what is set is in the log
        set_columns(store, {one.entry.id: dict(one.values) for one in changed})
        record(store, None, Edit("plate map", (), "system"), author=author, detail=detail)
    return len(changed)


def _preview(
    source: str,
    columns: Sequence[str],
    entries: Sequence[ImageEntry],
    values: Mapping[int, Mapping[str, str]],
    unmatched: tuple[str, ...] = (),
    several: tuple[str, ...] = (),
) -> Preview:
    made = [
        Assignment(
            entry,
            values[entry.id],
            tuple(name for name, text in values[entry.id].items() if _of(entry, name) != text),
        )
        for entry in entries
        if values.get(entry.id)
    ]
    without = tuple(entry for entry in entries if not values.get(entry.id))
    return Preview(source, tuple(columns), tuple(made), without, unmatched, several)


def _of(entry: ImageEntry, name: str) -> str:
    return str(getattr(entry, name)) if name in COLUMNS else entry.further.get(name, "")


def _column(text: str) -> str:
    """Return the name of a column as the project has it."""
    name = re.sub(r"[\s\-]+", "_", text.strip().lower())
    return _SYNONYMS.get(name, name)


def _text(path: Path) -> str:
    if path.is_dir() or not path.exists():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise UserError(f"{path} {what}; give a table (CSV)")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({str(error.strerror).lower()}); check the path"
        ) from error
    if content.startswith(b"PK"):
        raise UserError(f"{path} is no CSV table but an Excel file; save it as CSV")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not text in UTF-8; save it as CSV in UTF-8") from None


def _named(beginning: str, names: Sequence[str], most: int = 3) -> str:
    more = len(names) - most
    return f"{beginning} {', '.join(names[:most])}{f' and {more} more' if more > 0 else ''}."
