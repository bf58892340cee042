"""Learning from corrections: a model and reviewed regions → a child that counts them better.

The model in use is never changed. What it did for other images the child keeps, in three ways:
patches of what the parent learned from are shown along with the regions, weights are pulled
towards the parent's (``regions.loop``), and images that look like the parent's rather than like
the reviewed ones are counted by the parent itself, which lies in the child as its base
(``Model.counting``).
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from celltally.devices import resolve_device
from celltally.errors import UserError
from celltally.learn.outcome import FineTuned
from celltally.learn.regions.course import iter_material, iter_outcome, iter_teach, model_of
from celltally.learn.regions.loop import RegionFit
from celltally.learn.regions.plan import RegionPlan
from celltally.learn.regions.prototypes import iter_grow
from celltally.learn.regions.rehearsal import iter_rehearsal_windows
from celltally.learn.regions.told import learned_from
from celltally.learn.replay import replay_patches
from celltally.learn.seen import image_hashes
from celltally.model import Model
from celltally.networks import CanGrow
from celltally.types import Progress

__all__ = ["check_can_learn", "check_steps", "iter_finetune"]

#: Seconds of learning: of the minute (on a GPU: of the five seconds) that one round may take,
#: what reading, comparing and recalibrating leave.
SECONDS = {"cpu": 28.0, "cuda": 2.0}
#: Weight of the whole replay, in units of that of all regions, when the last layer is fitted.
REPLAY_SHARE = 0.1


def iter_finetune(
    model: Model,
    data: Sequence[Path],
    *,
    name: str,
    seconds: float | None = None,
    steps: int | None = None,
    device: str = "auto",
    seed: int = 0,
    project: str = "",
    by: Sequence[str] = (),
    fit: RegionFit | None = None,
) -> Generator[Progress, None, FineTuned]:
    """Learn from what was reviewed, and compare the child with the model in use.

    Nothing is written; the child is the caller's to keep.

    Parameters
    ----------
    model
        The model in use; it stays as it is.
    data
        Data set folders, of which images may be reviewed in part.
    name
        Of the child.
    seconds, steps
        How long to learn; with ``steps`` the same seed gives the same child on the same
        machine.
    device
        See ``iter_predict``.
    seed
        Of all chance.
    project, by
        Whose regions these are, and who reviewed them, for the record.
    fit
        Settings other than the defaults.

    Yields
    ------
    Progress
        ``values`` with ``loss``, and now and then ``val_loss`` and ``parent_loss`` of regions
        that were kept back.

    Raises
    ------
    UserError
        When the model cannot learn from regions, or the regions teach nothing.
    """
    check_steps(steps)
    if seconds is not None and not 0 < seconds < math.inf:
        raise UserError(f"{seconds:g} seconds are no time to learn in; give more than 0")
    target, begun = resolve_device(device), time.perf_counter()
    config = fit or RegionFit()
    budget = seconds if seconds is not None else SECONDS.get(target.type, SECONDS["cpu"])
    config = replace(config, seconds=budget, steps=steps or config.steps, seed=seed)
    check_can_learn(model)
    before, nominal, network = model.record, model.diameter_px, model.network
    material = yield from iter_material(
        data, network, nominal_px=nominal, seed=seed, taught=before.taught_by
    )
    replay = yield from iter_rehearsal_windows(
        copy.deepcopy(network), replay_patches(model.replay), target
    )
    rng = np.random.default_rng(seed)
    child = copy.deepcopy(network)
    new: tuple[int, ...] = ()
    if isinstance(child, CanGrow):
        child, new = yield from iter_grow(child, material.windows, replay, rng, target)
    taught = yield from iter_teach(
        child, material, config, nominal_px=nominal, new=new, rng=rng, device=target,
        replay=replay, share=REPLAY_SHARE, parent=network,
    )  # fmt: skip
    made = model_of(
        child, material, taught, before,
        name=name,
        diameter_px=nominal,
        base=_base(model, material.plan),
        replay=model.replay,
        sample=before.sample,
        training={
            "seed": seed, "steps": taught.steps, "learned from": "reviewed regions",
            "regions": len(material.plan.taught),
            **{k: v for k, v in before.training.items() if k == "patches kept"},
        },
        metrics=before.metrics,
        learned=learned_from(material.plan, project, tuple(by), new),
    )  # fmt: skip
    return (yield from iter_outcome(model, made, material, device=device, begun=begun))


def _base(parent: Model, plan: RegionPlan) -> Model:
    """Choose what counts other images.

    A parent that knows nothing beyond its own base but images that taught again is a step
    on the way: its base stays the base.
    """
    if parent.base is not None:
        own = set(parent.record.taught_by) - set(parent.base.record.taught_by)
        if own <= set(image_hashes(image.sample for image in plan.teachers)):
            return replace(parent.base, replay={})
    return replace(parent, replay={})  # the child has it


def check_steps(steps: int | None) -> None:
    """Refuse a number of steps that teaches nothing."""
    if steps is not None and steps < 1:
        raise UserError(f"{steps} steps teach nothing; give at least 1")


def check_can_learn(model: Model) -> None:
    """Refuse a model that cannot learn from regions.

    Raises
    ------
    UserError
        When it looks at whole images only, or counts several classes.
    """
    network = model.network
    if network.halo is None or "dots" not in network.supervision:
        raise UserError(
            f"the model {model.name!r} looks at whole images only ({model.record.network}) and "
            "cannot learn from regions; choose one that counts with 'tally', such as 'general'"
        )
    if getattr(network.config, "classes", 1) != 1:
        raise UserError(
            f"the model {model.name!r} counts several classes, which regions do not tell"
        )
