"""What the *Learn* widget says, and what is wrong with what is typed. Free of Qt and torch."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from celltally._napari import texts

if TYPE_CHECKING:
    from celltally.learn.outcome import Example
    from celltally.project.study_lock import Lock
    from celltally.project.teaching import Teaching

__all__ = [
    "EMPTY",
    "bullets",
    "example_caption",
    "in_window",
    "kept_words",
    "left_words",
    "lock_words",
    "material_words",
    "minutes_words",
    "name_problem",
    "proposed_name",
    "used_words",
    "without_file_words",
]

EMPTY = (
    "Nothing is reviewed yet: in Tally, draw a region, correct the dots in it until they are "
    "right, and press “Reviewed”. Five regions of some ten cells are a good start."
)
NO_FILES = "All that was reviewed lies in images whose files are not there."
#: What helps where a file was moved.
FIND_MOVED = "press “Images” and “Find moved files…” in Study"
#: What an export says of a missing file, whose folder is too long for the window.
_MISSING = re.compile(
    r"^(?:.*[/\\])?([^/\\]+) is missing; look for it with 'celltally project find', or leave it out"
)
#: Letters that a file name cannot have on every system.
_FORBIDDEN = '<>:"/\\|?*'
#: Names that are devices on Windows, whatever follows behind a dot.
_DEVICES = {"con", "prn", "aux", "nul", *(f"{x}{i}" for x in ("com", "lpt") for i in range(1, 10))}
#: Letters of a name that every system has room for.
LONGEST_NAME = 80
#: Letters of an image's name that a line has room for: without spaces it cannot be broken.
IMAGE_LENGTH = 30
#: Images that are named in a sentence.
_LISTED = 2


def material_words(found: Teaching) -> str:
    """Say what there is to learn from, in a line or two."""
    if not found.lessons and not found.audits:
        return NO_FILES if found.without_file or found.moved else EMPTY
    parts = []
    where = f" in {_n(found.images, 'image')}"  # the images are those of all these regions
    if found.regions:
        corrected = f", {texts.number(found.corrected)} corrected" if found.corrected else ""
        parts.append(
            f"{_n(found.regions, 'reviewed region')}{'' if found.audits else where}, "
            f"{_n(found.dots, 'dot')}{corrected}"
        )
    if found.stated:
        there = "" if found.regions or found.audits else where
        parts.append(f"{_n(found.stated, 'region')}{there} with only a stated count")
    if found.audits:
        parts.append(f"{_n(found.audits, 'audit region')} to judge{where if not parts else ''}")
        if len(parts) > 1:
            parts.append(f"all{where}")
    words = "; ".join(parts)
    if not found.lessons:
        words += ". Audit regions only judge: review others to learn from"
    return f"{words[:1].upper()}{words[1:]}."


def without_file_words(found: Teaching) -> str:
    """Say which images cannot teach, for their pixels are in no file, and what to do; or ""."""
    said = []
    if names := found.without_file:
        came, its = ("come", "their layers") if len(names) > 1 else ("comes", "its layer")
        said.append(
            f"{_listed(names)} {came} from no file and cannot teach: save {its} as a file, open "
            "that, and review it."
        )
    if names := found.moved:
        more = len(names) > 1
        said.append(
            f"{_listed(names)} cannot teach, for the file{'s are' if more else ' is'} not where "
            f"{'they were' if more else 'it was'}: {FIND_MOVED}."
        )
    return "\n".join(said)


def _listed(names: Sequence[str]) -> str:
    listed = ", ".join(f"“{texts.short(name, IMAGE_LENGTH)}”" for name in names[:_LISTED])
    return f"{listed} and {len(names) - _LISTED} more" if len(names) > _LISTED else listed


def in_window(said: str) -> str:
    """Say of a missing file what to do about it in the window, rather than on the command line."""

    def in_short(found: re.Match[str]) -> str:
        return f"{texts.short(found[1], IMAGE_LENGTH)} is not where it was: {FIND_MOVED}"

    return _MISSING.sub(in_short, said)


def proposed_name(parent: str, project: str, taken: Collection[str]) -> str:
    """Propose a free name for a child: ``general – my study``, then ``… 2``, ``… 3``.

    Parameters
    ----------
    parent
        Name of the model that learns.
    project
        Name of the project; not repeated where the parent's name ends with it.
    taken
        Names of the models at hand.
    """
    again = re.fullmatch(rf"(.* – {re.escape(project)})(?: \d+)?", parent) if project else None
    joined = f"{parent} – {project}" if project else parent
    stem = joined if again is None else again[1]
    stem = "".join(" " if letter in _FORBIDDEN else letter for letter in stem)
    stem = stem[: LONGEST_NAME - 4].strip(" .")
    held = {name.casefold() for name in taken}
    name, n = stem, 1
    while name.casefold() in held:
        n += 1
        name = f"{stem} {n}"
    return name


def name_problem(name: str, taken: Collection[str]) -> str | None:
    """Whether a new model cannot have a name: the sentence, or None."""
    name = name.strip()
    if not name:
        return "Give the new model a name."
    if bad := next((x for x in name if x in _FORBIDDEN or not x.isprintable()), ""):
        shown = bad if bad.isprintable() else repr(bad)
        return f"A model's name cannot have the letter {shown} in it: leave it out."
    if name.startswith(".") or name.endswith("."):
        return "A model's name can neither begin nor end with a dot: leave it out."
    if name.partition(".")[0].strip().casefold() in _DEVICES:
        return f"A model cannot be called {name}, for Windows keeps that name: choose another."
    if len(name) > LONGEST_NAME:
        return f"A model's name has at most {LONGEST_NAME} letters, and this one {len(name)}."
    if name.casefold() in {known.casefold() for known in taken}:
        return f"There is a model “{name}” already: choose another name."
    return None


def left_words(seconds: float | None) -> str:
    """Say how long it still takes, as roughly as it is known; "" where it is not."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    if seconds < 5:
        return "A few seconds left"
    if seconds < 90:
        return f"About {5 * math.ceil(seconds / 5)} s left"
    return f"About {math.ceil(seconds / 60)} min left"


def minutes_words(minutes: float) -> str:
    """Say how long a training from nothing takes."""
    return f"It takes about {minutes:g} minute{'s' * (minutes != 1)}; you can cancel any time."


def kept_words(name: str, *, used: bool) -> str:
    """Say that a new version is among the models, and what is next."""
    name = texts.short(name, 40)
    if not used:
        return f"Kept as “{name}”; Tally goes on with the model that is chosen there."
    return (
        f"Kept as “{name}”, and chosen in Tally: press Count there. Counts that were made before "
        "stay as they are; Recount all in Study makes them anew."
    )


def used_words(name: str) -> str:
    """Say that another version is in use, and what is next."""
    return (
        f"“{texts.short(name, 40)}” is chosen in Tally: press Count there. Counts that were made "
        "before stay as they are."
    )


def lock_words(lock: Lock, name: str) -> str:
    """Ask whether a version is to be used in a study that is locked to another model."""
    return (
        f"This study is locked to {lock.text}. Counts by “{name}” will be marked in its table. "
        "Use it in Tally all the same?"
    )


def bullets(sentences: Sequence[str]) -> str:
    """Put sentences below each other, so that each is seen to begin; one alone stays as it is."""
    if len(sentences) < 2:
        return "".join(sentences)
    return "\n".join(f"•\xa0{said}" for said in sentences)


def example_caption(example: Example, *, from_nothing: bool = False) -> str:
    """``a.tif, whole region`` (the picture may show a part of it), and its counts below that."""
    you, after = texts.number(example.counted), texts.number(example.after)
    rest = f"it\xa0{after}"
    if not from_nothing:
        rest = f"before\xa0{texts.number(example.before)}\xa0→\xa0after\xa0{after}"
    image = texts.short(example.image, IMAGE_LENGTH)
    return f"{image}, whole region:\nyou\xa0{you}, {rest}"


def _n(n: int, thing: str) -> str:
    return f"{texts.number(n)} {thing}{'s' * (n != 1)}"
