"""A model for a new cell type, from nothing but a person's dots.

The same windows and the same loop as in a fine-tuning, but longer, with nothing to be kept: no
replay, no pull, no base. It may start from the weights of another model, whose features are
worth having even where its cells are not, or from chance.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Generator, Sequence
from pathlib import Path

import numpy as np
import torch

from celltally.devices import resolve_device
from celltally.diameter import check_diameter
from celltally.errors import UserError
from celltally.learn.finetune import check_can_learn, check_steps
from celltally.learn.outcome import FineTuned
from celltally.learn.regions.course import iter_material, iter_outcome, iter_teach, model_of
from celltally.learn.regions.loop import RegionFit
from celltally.learn.regions.told import learned_from
from celltally.model import Model
from celltally.networks import build
from celltally.types import Progress

__all__ = ["iter_new_model"]

#: Cell diameter at model scale of a model that starts from chance.
NOMINAL_PX = 12.0
#: Peak learning rates, of what starts from a model and of what starts from chance.
STARTED_RATE, RATE = 1e-3, 2e-3
#: Steps at most: more learn the regions by heart.
MOST_STEPS = 1500


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
    check_steps(steps)
    if not minutes > 0:
        raise UserError(f"{minutes:g} minutes are no training; give more than 0")
    if start is not None:
        check_can_learn(start)
    before = None if start is None else start.record
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
    material = yield from iter_material(
        data, net, nominal_px=nominal, seed=seed, taught=() if before is None else before.taught_by
    )
    config = RegionFit(
        seconds=60 * minutes, steps=steps, most_steps=MOST_STEPS, seed=seed, pull=0.0,
        learning_rate=RATE if start is None else STARTED_RATE, average=0.98,
    )  # fmt: skip
    blank = Model.from_network(copy.deepcopy(net), name=name, diameter_px=nominal)
    taught = yield from iter_teach(
        net, material, config, nominal_px=nominal, new=None, rng=np.random.default_rng(seed),
        device=target,
    )  # fmt: skip
    made = model_of(
        net, material, taught, before,
        name=name,
        diameter_px=nominal,
        sample=sample,
        training={
            "seed": seed, "steps": taught.steps, "learned from": "reviewed regions",
            "started from": "chance" if start is None else f"the weights of {start.name}",
            "learning rate": config.learning_rate,
        },
        learned=learned_from(material.plan, project, tuple(by)),
    )  # fmt: skip
    return (
        yield from iter_outcome(
            blank, made, material, device=device, begun=begun, from_nothing=True
        )
    )
