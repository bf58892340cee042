"""A paragraph for the methods section of a paper: what was counted, with what, and by whom."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from celltally import __version__
from celltally.project.counts import StoredCount
from celltally.project.history import people
from celltally.project.lineage import lineages as known_lineages
from celltally.project.store import Store
from celltally.project.study import StudyRow
from celltally.project.study_lock import Lock, locked

__all__ = ["Agreed", "methods", "paragraph"]


@dataclass(frozen=True)
class Agreed:
    """How well two people, or a model and a person, agree (``celltally agree``).

    Attributes
    ----------
    first, second
        Who, in words: ``the model``, ``Anna``.
    fields
        Number of images or regions that both counted.
    f1
        2 × matched / (cells of both).
    bias, low, high
        Mean difference second − first of the counts of a field, and 95 % limits of agreement;
        NaN where they are not known.
    kappa
        Cohen's, of the classes of matched cells; NaN where there is one class only.
    """

    first: str
    second: str
    fields: int
    f1: float
    bias: float = math.nan
    low: float = math.nan
    high: float = math.nan
    kappa: float = math.nan


def methods(
    store: Store,
    study: Sequence[StudyRow],
    agreed: Agreed | None = None,
    *,
    lineages: Mapping[str, str] | None = None,
) -> str:
    """Write the paragraph of a project.

    Parameters
    ----------
    store
        The project: who edited it, and whether it is locked.
    study
        Its rows (``study.rows``).
    agreed
        Agreement, where it was measured.
    lineages
        Where models come from, by their sha256 (``lineage.lineages``); without, as far as the
        project knows.
    """
    return paragraph(
        study,
        authors=people(store),
        lock=locked(store),
        agreed=agreed,
        lineages=known_lineages(store) if lineages is None else lineages,
    )


def paragraph(
    study: Iterable[StudyRow],
    *,
    authors: Collection[str] = (),
    lock: Lock | None = None,
    agreed: Agreed | None = None,
    lineages: Mapping[str, str] | None = None,
    version: str = __version__,
) -> str:
    """Write the paragraph from the rows of a study; see ``methods``.

    Every sentence holds what the rows hold; what nobody did is not mentioned, but that nothing
    was reviewed is said.
    """
    rows = [row for row in study if not row.is_region]
    counted = [row.counted for row in rows if row.counted is not None]
    if not rows:
        return "No image was counted."
    sentences = [
        _what(rows, version),
        *_models(counted, lineages or {}),
        _diameters(counted),
        _thresholds(counted),
        *_planes(rows),
        *_locked(lock),
        _reviewed(rows),
        _edits(rows, len(authors)),
        *_intervals(rows),
        *_agreement(agreed),
        *_marked(rows),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _what(rows: Sequence[StudyRow], version: str) -> str:
    images = {row.entry.id: row.entry for row in rows}
    known = {row.entry.id for row in rows if row.counted is not None}
    wells = {(e.plate, e.well) for e in images.values() if e.well}
    replicates = {e.replicate for e in images.values() if e.replicate}
    conditions = {e.condition for e in images.values() if e.condition}
    of = []
    if wells:
        of.append(_number(len(wells), "well"))
    if replicates:
        of.append(_number(len(replicates), "replicate"))
    if conditions:
        of.append(_number(len(conditions), "condition"))
    what = _number(len(known), "image")
    places = f" from {_list(of)}" if of else ""
    text = f"Cells were counted in {what}{places} with Celltally {version}."
    if len(known) < len(images):
        left = len(images) - len(known)
        text += (
            f" {_capital(_number(left, 'further image'))} of the project "
            f"{_was(left)} not counted by a model."
        )
    return text


def _models(counted: Sequence[StoredCount], lineages: Mapping[str, str]) -> list[str]:
    often = Counter((c.model, c.model_sha256) for c in counted)
    if not often:
        return []
    if len(often) == 1:
        ((name, sha256),) = often
        made = f", {lineages[sha256]}" if sha256 in lineages else ""
        return [f"The model was {name!r} (sha256 {sha256[:12]}){made}."]
    parts = [
        f"{name!r} (sha256 {sha256[:12]}; {_number(n, 'count')})"
        for (name, sha256), n in often.most_common()
    ]
    said = [f"{_capital(_words(len(often)))} models were used: {_list(parts)}."]
    names = {sha256: name for name, sha256 in often}
    said += [f"{names[one]!r} was {lineages[one]}." for one in names if one in lineages]
    return said


def _diameters(counted: Sequence[StoredCount]) -> str:
    sizes = sorted(c.diameter_px for c in counted)
    if not sizes:
        return ""
    if math.isclose(sizes[0], sizes[-1], rel_tol=1e-3):
        return f"The cell diameter was {sizes[0]:.4g} pixels."
    middle = sizes[len(sizes) // 2]
    return (
        f"The cell diameter differed between images (median {middle:.4g} pixels, "
        f"{sizes[0]:.4g} to {sizes[-1]:.4g})."
    )


def _thresholds(counted: Sequence[StoredCount]) -> str:
    if not counted:
        return ""
    moved = [
        c
        for c in counted
        if not math.isclose(c.threshold, c.default_threshold, rel_tol=1e-3, abs_tol=1e-9)
    ]
    rule = "the number of dots is nearest to the integral of the density"
    if not moved:
        return f"Dots were placed at the threshold at which {rule}."
    if len({round(c.threshold, 3) for c in moved}) == 1 and len(moved) == len(counted):
        return f"Dots were placed at a threshold of {moved[0].threshold:.3g}."
    n = len(moved)
    return (
        f"Dots were placed at the threshold at which {rule}; "
        f"in {_number(n, 'count')} it was moved by hand."
    )


def _planes(rows: Sequence[StudyRow]) -> list[str]:
    how = Counter(row.figures.z_method for row in rows if row.counted is not None)
    said = []
    if how["projection"]:
        said.append(
            f"{_capital(_number(how['projection'], 'count'))} {_was(how['projection'])} made in "
            "maximum projections over z."
        )
    if how["merged"]:
        said.append(
            f"In {_number(how['merged'], 'stack')} dots of neighbouring z planes that lay within "
            "half a cell diameter of each other were merged into one cell."
        )
    times = {row.figures.t for row in rows}
    if len(times) > 1:
        said.append(f"{_capital(_words(len(times)))} time points were counted separately.")
    return said


def _locked(lock: Lock | None) -> list[str]:
    if lock is None:
        return []
    held = ["the model"]
    held += ["the cell diameter"] if lock.diameter_px is not None else []
    held += ["the threshold rule"]
    return [f"{_capital(_list(held))} were fixed for the whole study on {lock.at[:10]}."]


def _reviewed(rows: Sequence[StudyRow]) -> str:
    areas = [(row.figures.area_px, row.figures.reviewed_share) for row in rows]
    known = [(area, share) for area, share in areas if math.isfinite(area)]
    total = sum(area for area, _ in known)
    share = sum(area * part for area, part in known) / total if total > 0 else 0.0
    touched = sum(part > 0 for _, part in known)
    if touched == 0:
        return "No part of the images was reviewed by hand."
    where = "tissue" if any(row.figures.in_tissue for row in rows) else "area"
    return (
        f"{_capital(_percent(share))} of the {where} was reviewed by hand, in {_words(touched)} of "
        f"{_number(len(rows), 'image plane')}; what was counted there by hand takes the place of "
        "the integral of the density."
    )


def _edits(rows: Sequence[StudyRow], n_people: int) -> str:
    total: Counter[str] = Counter()
    for row in rows:
        total.update(row.figures.states)
    done = [
        f"{_words(total[state])} {word}"
        for state, word in (
            ("added", "added"),
            ("removed", "removed"),
            ("moved", "moved"),
            ("confirmed", "confirmed"),
        )
        if total[state]
    ]
    if not done:
        return "No dot was changed by hand."
    n = sum(total[state] for state in ("added", "removed", "moved", "confirmed"))
    by = f" by {_number(n_people, 'person', 'people')}" if n_people else " by hand"
    dots = "dot was" if n == 1 else "dots were"
    each = _list(done) if len(done) > 1 else done[0].split()[-1]
    return (
        f"{_capital(_words(n))} {dots} checked or corrected{by}: {each}."
        if len(done) > 1
        else f"{_capital(_words(n))} {dots} {each}{by}."
    )


def _intervals(rows: Sequence[StudyRow]) -> list[str]:
    kinds: Counter[str] = Counter(
        row.figures.interval.kind for row in rows if row.counted is not None
    )
    if not kinds:
        return []
    levels = sorted({row.figures.interval.level for row in rows})
    level = _list([f"{100 * one:.10g} %" for one in levels])
    said = [
        f"Intervals ({level}) are split-conformal, from the model's errors on images that it had "
        "not learned from."
    ]
    of = sum(kinds.values())
    for kind, words in (
        ("exact", "complete review, so that the count is exact"),
        ("provisional", "a provisional interval only"),
        ("not calibrated", "no calibrated interval"),
    ):
        if n := kinds[kind]:
            said.append(f"{_capital(_words(n))} of {_number(of, 'count')} {_has(n)} {words}.")
    return said


def _agreement(agreed: Agreed | None) -> list[str]:
    if agreed is None:
        return []
    text = (
        f"In {_number(agreed.fields, 'field')} that both counted, the F1 score of "
        f"{agreed.first} and {agreed.second} was {agreed.f1:.2f}"
    )
    if math.isfinite(agreed.bias):
        text += f", with a mean difference of {_signed(agreed.bias)} cells per field"
        if math.isfinite(agreed.low) and math.isfinite(agreed.high):
            low, high = _signed(agreed.low), _signed(agreed.high)
            text += f" (95 % limits of agreement {low} to {high})"
    if math.isfinite(agreed.kappa):
        text += f" and Cohen's kappa of {agreed.kappa:.2f} for the classes"
    return [f"{text}."]


def _marked(rows: Sequence[StudyRow]) -> list[str]:
    """Say what was counted otherwise than the study is locked to."""
    often: Counter[str] = Counter()
    for row in rows:
        for flag in row.flags:
            word = flag.split(" (")[0]
            if not word.startswith(("interval", "not counted", "file is")):
                often[word] += 1
    return [
        f"{_capital(_number(n, 'count'))} {_was(n)} marked “{word}”."
        for word, n in often.most_common()
    ]


# ---- words ----


def _number(n: int, one: str, many: str | None = None) -> str:
    return f"{_words(n)} {one if n == 1 else many or f'{one}s'}"


def _words(n: int) -> str:
    """Return small numbers as words, larger ones with thin groups of digits."""
    small = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    return small[n] if n < len(small) else f"{n:,}".replace(",", " ")


def _was(n: int) -> str:
    return "was" if n == 1 else "were"


def _has(n: int) -> str:
    return "has" if n == 1 else "have"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _list(parts: Sequence[str]) -> str:
    """Join parts: ``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else list(parts))


def _percent(share: float) -> str:
    if share >= 1:
        return "all"
    percent = 100 * share
    return "less than 1 %" if percent < 1 else f"{min(percent, 99.0):.0f} %"


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")
