"""A model for a new cell type, from nothing but a person's dots.

The same windows and the same loop as in a fine-tuning, but longer, with nothing to be kept: no
replay, no pull, no base. It may start from the weights of another model, whose features are
worth having even where its cells are not, or from chance.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Generator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from celltally.devices import resolve_device
from celltally.diameter import check_diameter
from celltally.errors import UserError
from celltally.learn.finetune import check_can_learn
from celltally.learn.gallery import Gallery
from celltally.learn.outcome import FineTuned
from celltally.learn.regions.gallery import iter_region_gallery
from celltally.learn.regions.judge import compared, examples_of, iter_judge
from celltally.learn.regions.loop import RegionFit, iter_fit_regions
from celltally.learn.regions.plan import RegionPlan, make_region_plan
from celltally.learn.regions.prototypes import project_new
from celltally.learn.regions.recalibrated import recalibrated
from celltally.learn.regions.refit import iter_refit_regions
from celltally.learn.regions.reviewed import iter_reviewed
from celltally.learn.regions.told import errors_of_judges, learned_from, training_sets
from celltally.learn.regions.verdict import accuracy_in_words
from celltally.learn.seen import image_hashes
from celltally.model import Model
from celltally.networks import CountingNetwork, HasPrototypes, build
from celltally.record import Learned
from celltally.types import Progress

__all__ = ["iter_new_model"]

#: Cell diameter at model scale of a model that starts from chance.
NOMINAL_PX = 12.0
#: Peak learning rates, of what starts from a model and of what starts from chance.
STARTED_RATE, RATE = 1e-3, 2e-3
#: Steps at most: more learn the regions by heart.
MOST_STEPS = 1500
EXAMPLES = 4


def iter_new_model(
    data: Sequence[Path],
    *,
    name: str,
    sample: str = "",
    start: Model | None = None,
    network: str = "tally",
    minutes: float = 5.0,
    steps: int | None = None,
    device: str = "auto",
    seed: int = 0,
    project: str = "",
    by: Sequence[str] = (),
) -> Generator[Progress, None, FineTuned]:
    """Train a model on reviewed regions alone.

    Nothing is written; the model is the caller's to keep. What judges it are regions that were
    kept back, and audit regions; "before" in its comparison is the network that it started from.

    Parameters
    ----------
    data
        Data set folders, of which images may be reviewed in part.
    name, sample
        Of the model, and in words what it counts.
    start
        Model whose weights it starts from; None for chance. What that one could do is not kept.
    network
        Registered name, for a start from chance.
    minutes, steps
        How long to learn; with ``steps`` the same seed gives the same model on the same
        machine.
    device, seed, project, by
        See ``iter_finetune``.

    Raises
    ------
    UserError
        When the network cannot learn from regions, or the regions teach nothing.
    """
    if not minutes > 0:
        raise UserError(f"{minutes:g} minutes are no training; give more than 0")
    if start is not None:
        check_can_learn(start)
    target, begun = resolve_device(device), time.perf_counter()
    torch.manual_seed(seed)
    net = build(network) if start is None else copy.deepcopy(start.network)
    if net.halo is None or "dots" not in net.supervision:
        raise UserError(
            f"the network {network!r} looks at whole images only and cannot learn from regions; "
            "leave it out, and it will be 'tally'"
        )
    nominal = NOMINAL_PX if start is None else start.diameter_px
    if problem := check_diameter(nominal):
        raise UserError(problem)
    images, notes = yield from iter_reviewed(data, nominal)
    plan = make_region_plan(images, seed, taught=() if start is None else start.record.taught_by)
    where: dict[str, Any] = {
        "nominal_px": nominal, "stride": net.stride, "multiple": net.multiple,
    }  # fmt: skip
    windows, kept_back = plan.windows(**where), plan.kept_windows(**where)
    config = RegionFit(
        seconds=60 * minutes, steps=steps, most_steps=MOST_STEPS, seed=seed, pull=0.0,
        learning_rate=RATE if start is None else STARTED_RATE, average=0.98,
    )  # fmt: skip
    blank = _model(copy.deepcopy(net), name, nominal, plan, sample)
    done = yield from iter_fit_regions(net, windows, kept_back, (), config, target)
    gallery = Gallery((), {})
    if isinstance(net, HasPrototypes):
        every = range(len(net.prototype_kinds))
        project_new(net, every, windows, np.random.default_rng(seed), target)
        yield from iter_refit_regions(net, windows, (), share=0.0, device=target)
        gallery = yield from iter_region_gallery(
            net, [w for w in windows if w.stated is None], nominal_px=nominal, device=target
        )
    training = {
        "seed": seed, "steps": done, "learned from": "reviewed regions",
        "started from": "chance" if start is None else f"the weights of {start.name}",
        "learning rate": config.learning_rate,
    }  # fmt: skip
    made = _model(
        net, name, nominal, plan, sample, training=training, start=start,
        learned=learned_from(plan, project, tuple(by)),
    )  # fmt: skip
    made = replace(made, prototypes=gallery.prototypes, pictures=gallery.pictures)
    judged = yield from iter_judge(blank, made, plan.judges(), device=device)
    made = recalibrated(made, blank, plan, [one.audit for one in judged if one.judge])
    judges = compared(judged)
    # What it was before it had learned anything is no error to compare with.
    errors = {k: v for k, v in errors_of_judges(judges).items() if k.endswith("_after")}
    metrics = {"seconds": round(time.perf_counter() - begun, 1), **errors}
    assert made.record.learned is not None
    learned = replace(made.record.learned, metrics=metrics)
    made = replace(made, record=replace(made.record, learned=learned))
    return FineTuned(
        model=made,
        compared=judges,
        helped=None,
        sentences=(*accuracy_in_words(judges, plan), *notes),
        examples=examples_of(judged, EXAMPLES),
    )


def _model(
    network: CountingNetwork,
    name: str,
    nominal: float,
    plan: RegionPlan,
    sample: str,
    *,
    training: dict[str, Any] | None = None,
    start: Model | None = None,
    learned: Learned | None = None,
) -> Model:
    before = None if start is None else start.record
    return Model.from_network(
        network,
        name=name,
        diameter_px=nominal,
        sample=sample,
        training_data=training_sets(plan, () if before is None else before.training_data),
        taught_by=image_hashes(
            (i.sample for i in plan.teachers), () if before is None else before.taught_by
        ),
        chosen_by=image_hashes(
            (i.sample for i in plan.choosing), () if before is None else before.chosen_by
        ),
        training=training or {},
        parent=None if before is None else before.sha256,
        created=datetime.now(UTC).date().isoformat(),
        learned=learned,
    )
