"""The jobs of the *Learn* widget. Generators free of Qt; torch is loaded inside."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celltally._napari import counting
from celltally._napari.learn_trace import Trace
from celltally._napari.learn_words import in_window, name_problem
from celltally._napari.preload import loading_torch
from celltally.errors import UserError
from celltally.record import ModelRecord
from celltally.types import Progress

if TYPE_CHECKING:
    from celltally.learn.outcome import FineTuned
    from celltally.lineage import Version
    from celltally.project.store import Store
    from celltally.project.study_lock import Lock
    from celltally.project.teaching import Teaching

__all__ = [
    "Asked",
    "Learnt",
    "Material",
    "ModelsAtHand",
    "families_job",
    "keep_job",
    "learn_job",
    "material_job",
    "models_job",
]


@dataclass(frozen=True, eq=False)
class Material:
    """What the widget shows of a project.

    Attributes
    ----------
    teaching
        What there is to learn from.
    lock
        What the study is locked to; None where it is not.
    """

    teaching: Teaching
    lock: Lock | None


def material_job(store: Store) -> Generator[Progress, None, Material]:
    """Look at what was reviewed in a project."""
    yield Progress(0, 0, "reading the project")
    from celltally.project.study_lock import locked
    from celltally.project.teaching import teaching

    return Material(teaching(store), locked(store))


@dataclass(frozen=True)
class ModelsAtHand:
    """Models, and which was made from which.

    Attributes
    ----------
    records
        Of all models.
    trees
        See ``lineage.lineages``.
    """

    records: tuple[ModelRecord, ...] = ()
    trees: tuple[Version, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """Names that are taken."""
        return frozenset(record.name for record in self.records)


def models_job() -> Generator[Progress, None, ModelsAtHand]:
    """Look at the models at hand."""
    records = yield from counting.list_models_job()
    return (yield from families_job(records))


def families_job(records: Sequence[ModelRecord]) -> Generator[Progress, None, ModelsAtHand]:
    """Find out which of some models was made from which."""
    yield Progress(0, 0, "looking at the models")
    from celltally.lineage import lineages

    return ModelsAtHand(tuple(records), lineages(records))


# ---- learn ----


@dataclass(frozen=True, eq=False)
class Asked:
    """What is asked of a learning.

    Attributes
    ----------
    store
        The project.
    name
        Of the new model.
    parent
        Record of the model that learns; None: a new one is trained from nothing.
    project
        Name of the project.
    by
        Who reviewed.
    sample
        What a model from nothing counts, in words.
    minutes
        How long a model from nothing is trained.
    saved
        Whether all that was done is in the project; asked on the job's thread.
    """

    store: Store
    name: str
    parent: ModelRecord | None
    project: str = ""
    by: tuple[str, ...] = ()
    sample: str = ""
    minutes: float = 5.0
    saved: Callable[[], bool] = lambda: True


@dataclass(frozen=True, eq=False)
class Learnt:
    """What came of it.

    Attributes
    ----------
    tuned
        The new model, not saved yet, and how it compares.
    name
        What it is to be called.
    from_nothing
        Whether there is no model that it was made from.
    missing
        Sentences on images that could not teach.
    """

    tuned: FineTuned
    name: str
    from_nothing: bool = False
    missing: tuple[str, ...] = ()


def learn_job(asked: Asked, trace: Trace) -> Generator[Progress, None, Learnt]:
    """Make a new model from what was reviewed; nothing is saved.

    The model that learns is loaded once more, so that counting with it goes on as before.

    Parameters
    ----------
    asked
        What is to be made.
    trace
        Gets the figures of every step.

    Raises
    ------
    UserError
        When nothing can be learned from what was reviewed.
    """
    while not asked.saved():
        yield Progress(0, 0, "waiting until the project is saved")
        time.sleep(0.05)
    yield Progress(0, 0, "reading what you reviewed")
    from celltally.project.dataset import iter_export

    with tempfile.TemporaryDirectory(prefix="celltally-", ignore_cleanup_errors=True) as folder:
        data = Path(folder) / "reviewed"
        steps = iter_export(asked.store, data, name=asked.project or None)
        try:
            exported = yield from _quietly(steps, "reading what you reviewed")
        except UserError as error:
            raise UserError(in_window(str(error))) from error
        yield Progress(0, 0, "loading the model")
        tuned = yield from _traced(_learning(asked, data), trace)
    return Learnt(tuned, asked.name, asked.parent is None, tuple(map(in_window, exported.missing)))


def _learning(asked: Asked, data: Path) -> Generator[Progress, None, FineTuned]:
    whose: dict[str, Any] = {"name": asked.name, "project": asked.project, "by": asked.by}
    with loading_torch():
        from celltally import zoo
        from celltally.learn import finetune, new_model

    if asked.parent is None:
        return new_model.iter_new_model([data], sample=asked.sample, minutes=asked.minutes, **whose)
    model = zoo.load(asked.parent.path or asked.parent.name)
    return finetune.iter_finetune(model, [data], **whose)


def _traced(
    steps: Generator[Progress, None, FineTuned], trace: Trace
) -> Generator[Progress, None, FineTuned]:
    try:
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                result: FineTuned = end.value
                return result
            trace.put(step)
            yield step
    finally:
        steps.close()


def _quietly(steps: Generator[Progress, None, Any], message: str) -> Generator[Progress, None, Any]:
    """Yield steps without their numbers, which would say how far the whole is."""
    try:
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value
            yield Progress(0, 0, message)
    finally:
        steps.close()


# ---- keep ----


def keep_job(learnt: Learnt, name: str) -> Generator[Progress, None, ModelRecord]:
    """Save a new model among the user's own; return its record.

    Raises
    ------
    UserError
        When the name cannot be used, or the disk is full.
    """
    yield Progress(0, 0, "saving the model")
    from celltally import zoo

    name = name.strip()
    taken = [record.name for record in zoo.available()]
    if problem := name_problem(name, taken):
        raise UserError(problem.rstrip("."))
    folder = zoo.user_models_dir() / name
    if folder.exists():
        raise UserError(f"{folder} is there already: choose another name")
    return learnt.tuned.model.save(folder).record
