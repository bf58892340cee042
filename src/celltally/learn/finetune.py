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
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from celltally.devices import resolve_device
from celltally.errors import UserError
from celltally.learn.gallery import Gallery
from celltally.learn.outcome import FineTuned
from celltally.learn.regions.gallery import iter_region_gallery
from celltally.learn.regions.judge import Judged, compared, examples_of, iter_judge
from celltally.learn.regions.loop import RegionFit, iter_fit_regions, mean_loss
from celltally.learn.regions.plan import RegionPlan, make_region_plan
from celltally.learn.regions.prototypes import grow, project_new
from celltally.learn.regions.recalibrated import recalibrated
from celltally.learn.regions.refit import iter_refit_regions
from celltally.learn.regions.rehearsal import rehearsal_windows
from celltally.learn.regions.reviewed import iter_reviewed
from celltally.learn.regions.told import errors_of_judges, learned_from, training_sets
from celltally.learn.regions.verdict import helped, verdict
from celltally.learn.regions.windows import Window
from celltally.learn.replay import replay_patches
from celltally.learn.seen import image_hashes
from celltally.model import Model
from celltally.networks import CanGrow, CountingNetwork, HasPrototypes
from celltally.progress import relay
from celltally.types import Progress

__all__ = ["check_can_learn", "iter_finetune"]

#: Seconds of learning: of the minute (on a GPU: of the five seconds) that one round may take,
#: what reading, comparing and recalibrating leave.
SECONDS = {"cpu": 28.0, "cuda": 2.0}
#: Places that are shown.
EXAMPLES = 4
#: Weight of the whole replay, in units of that of all regions, when the last layer is fitted.
REPLAY_SHARE = 0.5


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
    if steps is not None and steps < 1:
        raise UserError(f"{steps} steps teach nothing; give at least 1")
    if seconds is not None and not 0 < seconds < math.inf:
        raise UserError(f"{seconds:g} seconds are no time to learn in; give more than 0")
    job = _Finetuning(model, name, resolve_device(device), device, seed, project, tuple(by))
    config = fit or RegionFit()
    budget = seconds if seconds is not None else SECONDS.get(job.target.type, SECONDS["cpu"])
    config = replace(config, seconds=budget, steps=steps or config.steps, seed=seed)
    return (yield from job.run(data, config))


@dataclass(eq=False)
class _Finetuning:
    """The stages of one round, and what they share."""

    model: Model
    name: str
    target: torch.device
    device: str
    seed: int
    project: str
    by: tuple[str, ...]

    def run(self, data: Sequence[Path], config: RegionFit) -> Generator[Progress, None, FineTuned]:
        start = time.perf_counter()
        check_can_learn(self.model)
        nominal, network = self.model.diameter_px, self.model.network
        images, notes = yield from iter_reviewed(data, nominal)
        plan = make_region_plan(images, self.seed, taught=self.model.record.taught_by)
        where: dict[str, Any] = {
            "nominal_px": nominal, "stride": network.stride, "multiple": network.multiple,
        }  # fmt: skip
        windows, kept_back = plan.windows(**where), plan.kept_windows(**where)
        replay = rehearsal_windows(
            copy.deepcopy(network), replay_patches(self.model.replay), self.target
        )
        rng = np.random.default_rng(self.seed)
        child = copy.deepcopy(network)
        new: tuple[int, ...] = ()
        if isinstance(child, CanGrow):
            child, new = grow(child, windows, replay, rng, self.target)
        steps = yield from self._learn(child, windows, kept_back, replay, config)
        gallery = Gallery((), {})
        if isinstance(child, HasPrototypes):
            project_new(child, new, windows, rng, self.target)
            yield from iter_refit_regions(
                child, windows, replay, share=REPLAY_SHARE, device=self.target
            )
            gallery = yield from iter_region_gallery(
                child, [w for w in (*windows, *replay) if w.stated is None],
                nominal_px=nominal, device=self.target,
            )  # fmt: skip
        made = self._model(child, plan, steps, new, gallery)
        judged = yield from iter_judge(self.model, made, plan.judges(), device=self.device)
        made = recalibrated(made, self.model, plan, [one.audit for one in judged if one.judge])
        return self._outcome(made, plan, judged, notes, time.perf_counter() - start)

    def _learn(
        self,
        network: CountingNetwork,
        windows: Sequence[Window],
        kept_back: Sequence[Window],
        replay: Sequence[Window],
        config: RegionFit,
    ) -> Generator[Progress, None, int]:
        parent = {}
        if kept_back:
            own = copy.deepcopy(self.model.network).to(self.target)
            parent = {"parent_loss": mean_loss(own, kept_back, config, self.target)}
        job = iter_fit_regions(network, windows, kept_back, replay, config, self.target)
        return (yield from relay(job, lambda p: replace(p, values={**p.values, **parent})))

    def _model(
        self,
        network: CountingNetwork,
        plan: RegionPlan,
        steps: int,
        new: tuple[int, ...],
        gallery: Gallery,
    ) -> Model:
        """Put a model together; what was measured of it is not known yet."""
        before = self.model.record
        taught = image_hashes(i.sample for i in plan.teachers)
        base = self._base(set(taught))
        made = Model.from_network(
            network,
            name=self.name,
            diameter_px=self.model.diameter_px,
            base=base,
            replay=self.model.replay,
            sample=before.sample,
            training_data=training_sets(plan, before.training_data),
            taught_by=tuple(sorted({*taught, *before.taught_by})),
            chosen_by=image_hashes((i.sample for i in plan.choosing), before.chosen_by),
            training={
                "seed": self.seed, "steps": steps, "learned from": "reviewed regions",
                "regions": len(plan.taught),
                **{k: v for k, v in before.training.items() if k == "patches kept"},
            },
            metrics=before.metrics,
            parent=before.sha256,
            created=datetime.now(UTC).date().isoformat(),
            learned=learned_from(plan, self.project, self.by, new),
        )  # fmt: skip
        return replace(made, prototypes=gallery.prototypes, pictures=gallery.pictures)

    def _base(self, taught: set[str]) -> Model:
        """Choose what counts other images.

        A parent that knows nothing beyond its own base but images that taught again is a step
        on the way: its base stays the base.
        """
        parent = self.model
        if parent.base is not None:
            own = set(parent.record.taught_by) - set(parent.base.record.taught_by)
            if own <= taught:
                return replace(parent.base, replay={})
        return replace(parent, replay={})  # the child has it

    def _outcome(
        self,
        made: Model,
        plan: RegionPlan,
        judged: Sequence[Judged],
        notes: Sequence[str],
        seconds: float,
    ) -> FineTuned:
        judges = compared(judged)
        better = helped(judges)
        metrics = {"seconds": round(seconds, 1), **errors_of_judges(judges)}
        assert made.record.learned is not None
        learned = replace(made.record.learned, helped=better, metrics=metrics)
        made = replace(made, record=replace(made.record, learned=learned))
        return FineTuned(
            model=made,
            compared=judges,
            helped=better,
            sentences=(*verdict(judges, plan), *notes),
            examples=examples_of(judged, EXAMPLES),
        )


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
