"""What the *Learn* widget says, and what is wrong with what is typed. Free of Qt and torch."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from typing import TYPE_CHECKING

from celltally._napari import texts

if TYPE_CHECKING:
    from celltally.learn.outcome import Compared, Example
    from celltally.project.study_lock import Lock
    from celltally.project.teaching import Teaching

__all__ = [
    "EMPTY",
    "compared_line",
    "example_caption",
    "left_words",
    "lock_words",
    "material_words",
    "minutes_words",
    "name_problem",
    "proposed_name",
    "without_file_words",
]

EMPTY = (
    "Nothing is reviewed yet: in Tally, draw a region, correct the dots in it until they are "
    "right, and press “Reviewed”. Five regions of some ten cells are a good start."
)
#: Letters that a file name cannot have on every system.
_FORBIDDEN = '<>:"/\\|?*'
#: Letters of a name that every system has room for.
LONGEST_NAME = 80
#: Images that are named in a sentence.
_LISTED = 2


def material_words(found: Teaching) -> str:
    """Say what there is to learn from, in a line or two."""
    if not found.lessons and not found.audits:
        return EMPTY
    parts = []
    if found.regions:
        corrected = f", {texts.number(found.corrected)} corrected" if found.corrected else ""
        parts.append(
            f"{_n(found.regions, 'reviewed region')} in {_n(found.images, 'image')}, "
            f"{_n(found.dots, 'dot')}{corrected}"
        )
    if found.stated:
        where = "" if found.regions else f" in {_n(found.images, 'image')}"
        parts.append(f"{_n(found.stated, 'region')}{where} with only a stated count")
    if found.audits:
        parts.append(f"{_n(found.audits, 'audit region')} to judge")
    words = "; ".join(parts)
    if not found.lessons:
        words += ". Audit regions only judge: review others to learn from"
    return f"{words[:1].upper()}{words[1:]}."


def without_file_words(found: Teaching) -> str:
    """Say which images cannot teach, for their pixels are in no file; or ""."""
    names = found.without_file
    if not names:
        return ""
    listed = ", ".join(f"“{texts.short(name, 30)}”" for name in names[:_LISTED])
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    came = "come" if len(names) > 1 else "comes"
    return (
        f"{listed}{more} {came} from no file that is there, and cannot teach: save the image as "
        "a file and open that, or look for the file in Study."
    )


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
    if len(name) > LONGEST_NAME:
        return f"A model's name has at most {LONGEST_NAME} letters, and this one {len(name)}."
    if name.casefold() in {known.casefold() for known in taken}:
        return f"There is a model “{name}” already: choose another name."
    return None


def left_words(seconds: float | None, doing: str = "") -> str:
    """Say how long it still takes, as roughly as it is known.

    Parameters
    ----------
    seconds
        Of what is being done now; None where that is not known.
    doing
        What that is.
    """
    if seconds is None or not math.isfinite(seconds):
        return ""
    if seconds < 5:
        left = "a few seconds left"
    elif seconds < 90:
        left = f"about {5 * math.ceil(seconds / 5)} s left"
    else:
        left = f"about {math.ceil(seconds / 60)} min left"
    words = f"{doing}: {left}" if doing else left
    return f"{words[:1].upper()}{words[1:]}"


def minutes_words(minutes: float) -> str:
    """Say how long a training from nothing takes."""
    return f"It takes about {minutes:g} min{'' if minutes == 1 else 's'}; you can cancel any time."


def lock_words(lock: Lock, name: str) -> str:
    """Ask whether a version is to be used in a study that is locked to another model."""
    return (
        f"This study is locked to {lock.text}. Counts by “{name}” will be marked in its table. "
        "Use it in Tally all the same?"
    )


def compared_line(compared: Compared, *, from_nothing: bool = False) -> str:
    """Give errors before and after, on regions of one kind: a short line.

    Parameters
    ----------
    compared
        The regions.
    from_nothing
        Whether there was no model before.
    """
    kind = "Kept-back" if compared.judge == "kept back" else "Audit"
    before = "" if from_nothing else f"{_off(compared.mae_before)} → "
    return f"{kind} regions: off by {before}{_off(compared.mae_after)} cells"


def example_caption(example: Example, *, from_nothing: bool = False) -> str:
    """``you 21 · before 14 → after 20``."""
    number = texts.number
    if from_nothing:
        return f"you\xa0{number(example.counted)} · it\xa0{number(example.after)}"
    # Where there is no room for all of it, the line breaks behind the first part.
    return (
        f"you\xa0{number(example.counted)} · before\xa0{number(example.before)}\xa0→"
        f"\xa0after\xa0{number(example.after)}"
    )


def _off(error: float) -> str:
    return f"{error:.1f}" if error < 99.95 else texts.number(error)


def _n(n: int, thing: str) -> str:
    return f"{texts.number(n)} {thing}{'s' * (n != 1)}"
