"""The stages that all learning from regions goes through, whatever it starts from.

What was reviewed is read and divided into what teaches and what judges. A network learns, its
new prototypes are put onto real places, its last layer is fitted anew, and pictures are chosen.
The model that it becomes is compared with the one before, and has its intervals from that.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from celltally.learn.gallery import Gallery
from celltally.learn.outcome import FineTuned
from celltally.learn.regions.gallery import iter_region_gallery
from celltally.learn.regions.judge import compared, examples_of, iter_judge
from celltally.learn.regions.loop import RegionFit, iter_fit_regions, iter_mean_loss
from celltally.learn.regions.plan import RegionPlan, make_region_plan
from celltally.learn.regions.prototypes import iter_project_new
from celltally.learn.regions.recalibrated import recalibrated
from celltally.learn.regions.refit import iter_refit_regions
from celltally.learn.regions.reviewed import iter_reviewed
from celltally.learn.regions.told import errors_of_judges, record_details
from celltally.learn.regions.verdict import accuracy_in_words, helped, verdict
from celltally.learn.regions.windows import Window
from celltally.model import Model
from celltally.networks import CountingNetwork, HasPrototypes
from celltally.progress import relay
from celltally.record import ModelRecord
from celltally.types import Progress

__all__ = ["Material", "Taught", "iter_material", "iter_outcome", "iter_teach", "model_of"]

#: Places that are shown.
EXAMPLES = 4


@dataclass(frozen=True, eq=False)
class Material:
    """What there is to learn from, and to judge by.

    Attributes
    ----------
    plan
        Which regions do what.
    windows, kept_back
        What teaches, and what chooses when to stop.
    notes
        Sentences on what could not be used.
    """

    plan: RegionPlan
    windows: Sequence[Window]
    kept_back: Sequence[Window]
    notes: Sequence[str]


@dataclass(frozen=True, eq=False)
class Taught:
    """What came of teaching a network, beside its weights.

    Attributes
    ----------
    steps
        Steps until the weights that are kept.
    gallery
        What its prototypes look like; empty where it has none.
    """

    steps: int
    gallery: Gallery


def iter_material(
    data: Sequence[Path],
    network: CountingNetwork,
    *,
    nominal_px: float,
    seed: int,
    taught: Collection[str] = (),
) -> Generator[Progress, None, Material]:
    """Read what was reviewed, and plan what each region does.

    Parameters
    ----------
    data
        Data set folders.
    network
        The one that is to learn; it stays as it is.
    nominal_px
        Cell diameter at model scale.
    seed, taught
        See ``make_region_plan``.
    """
    images, notes = yield from iter_reviewed(data, nominal_px)
    plan = make_region_plan(images, seed, taught=taught)
    where: dict[str, Any] = {
        "nominal_px": nominal_px, "stride": network.stride, "multiple": network.multiple,
    }  # fmt: skip
    return Material(plan, plan.windows(**where), plan.kept_windows(**where), notes)


def iter_teach(
    network: CountingNetwork,
    material: Material,
    config: RegionFit,
    *,
    nominal_px: float,
    new: Sequence[int] | None,
    rng: np.random.Generator,
    device: torch.device,
    replay: Sequence[Window] = (),
    share: float = 0.0,
    parent: CountingNetwork | None = None,
) -> Generator[Progress, None, Taught]:
    """Teach a network, in place.

    Parameters
    ----------
    network
        What learns.
    material
        What it learns from.
    config
        How.
    nominal_px
        Cell diameter at model scale.
    new
        Prototypes that are put onto real places afterwards; None for all.
    rng
        Chooses places, where there are very many.
    device
        Where.
    replay, share
        What must not be unlearned, and its weight when the last layer is fitted.
    parent
        Its loss of what is kept back is told beside the network's own; it stays as it is.
    """
    windows = material.windows
    beside = {}
    if parent is not None and material.kept_back:
        own = copy.deepcopy(parent).to(device)
        loss = yield from iter_mean_loss(own, material.kept_back, config, device)
        beside = {"parent_loss": loss}
    job = iter_fit_regions(network, windows, material.kept_back, replay, config, device)
    steps = yield from relay(job, lambda p: replace(p, values={**p.values, **beside}))
    if not isinstance(network, HasPrototypes):
        return Taught(steps, Gallery((), {}))
    placed = range(len(network.prototype_kinds)) if new is None else new
    yield from iter_project_new(network, placed, windows, rng, device)
    yield from iter_refit_regions(network, windows, replay, share=share, rng=rng, device=device)
    dotted = [window for window in (*windows, *replay) if window.stated is None]
    gallery = yield from iter_region_gallery(network, dotted, nominal_px=nominal_px, device=device)
    return Taught(steps, gallery)


def model_of(
    network: CountingNetwork,
    material: Material,
    taught: Taught,
    before: ModelRecord | None,
    **details: Any,
) -> Model:
    """Put a model together; what was measured of it is not known yet.

    Parameters
    ----------
    network
        What has learned.
    material, taught
        From what, and what came of it.
    before
        Record of the model that it was made from, if of one.
    details
        Whatever else ``Model.from_network`` takes.
    """
    made = Model.from_network(network, **record_details(material.plan, before), **details)
    pictured = taught.gallery
    return replace(made, prototypes=pictured.prototypes, pictures=pictured.pictures)


def iter_outcome(
    before: Model,
    made: Model,
    material: Material,
    *,
    device: str,
    begun: float,
    from_nothing: bool = False,
) -> Generator[Progress, None, FineTuned]:
    """Compare a model with the one before, and give it intervals.

    Parameters
    ----------
    before
        The model in use, or, for one from nothing, what it was before it had learned.
    made
        The new one, with what it learned from in its record.
    material
        What judges.
    device
        See ``iter_predict``.
    begun
        When all of it began, as ``time.perf_counter`` tells it.
    from_nothing
        Whether what came before is nothing to compare with.
    """
    plan = material.plan
    judged = yield from iter_judge(before, made, plan.judges(), device=device)
    made = recalibrated(made, before, plan, [one.audit for one in judged if one.judge])
    judges = compared(judged)
    errors = errors_of_judges(judges, plan)
    if from_nothing:
        errors = {name: error for name, error in errors.items() if name.endswith("_after")}
    assert made.record.learned is not None
    learned = replace(
        made.record.learned,
        helped=None if from_nothing else helped(judges),
        metrics={"seconds": round(time.perf_counter() - begun, 1), **errors},
    )
    told = accuracy_in_words(judges, plan) if from_nothing else verdict(learned, judges, plan)
    return FineTuned(
        model=replace(made, record=replace(made.record, learned=learned)),
        compared=judges,
        helped=learned.helped,
        sentences=(*told, *material.notes),
        examples=examples_of(judged, EXAMPLES),
    )
