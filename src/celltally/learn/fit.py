"""The loop: batches in, better weights out, a ``Progress`` after every step."""

from __future__ import annotations

import copy
import logging
import math
import os
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from celltally.devices import cpu_is_good_at_bfloat16, resolve_device
from celltally.errors import UserError
from celltally.learn.augment import Augmentation
from celltally.learn.batches import Batch
from celltally.learn.mixing import MixedBatches
from celltally.learn.prepare import PreparedImage
from celltally.learn.validate import Scores, overall_error, validate
from celltally.networks import (
    CountingNetwork,
    HasPrototypes,
    HasStages,
    Output,
    Stage,
    all_but_variance,
    losses,
)
from celltally.types import Progress

__all__ = [
    "STARTED_RATE",
    "Budget",
    "FitConfig",
    "iter_fit",
    "make_fabric",
    "steps_between_validations",
]


#: Steps between validations, at least.
FEWEST_STEPS = 100
#: Batches from which batch norms take their statistics anew.
NORM_BATCHES = 20
#: Learning rate of a training that starts from a model: what it knows is kept.
STARTED_RATE = 5e-4


@dataclass(frozen=True)
class Budget:
    """How long to train: a number of steps, or minutes.

    Attributes
    ----------
    steps, minutes
        One of the two.
    clock
        Gives the seconds that minutes are measured in; None for wall time.
        ``time.process_time`` gives a budget that nothing else on the machine takes from.
    """

    steps: int | None = None
    minutes: float | None = None
    clock: Callable[[], float] | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise UserError("give either a number of steps or of minutes to train for")
        if self.steps is not None and self.steps < 1:
            raise UserError(f"{self.steps} training steps are too few; give at least 1")
        if self.minutes is not None and not (math.isfinite(self.minutes) and self.minutes > 0):
            raise UserError(f"{self.minutes} minutes of training are none; give more than 0")

    def share(self, fraction: float) -> Budget:
        """Part of the budget, at least one step."""
        if self.steps is not None:
            return replace(self, steps=max(1, round(self.steps * fraction)))
        return replace(self, minutes=(self.minutes or 0.0) * fraction)

    def now(self) -> float:
        """Read the clock."""
        return (self.clock or time.monotonic)()

    def spent(self, steps: int, seconds: float) -> float:
        """Spent fraction, 1 when it is used up."""
        if self.steps is not None:
            return steps / self.steps
        return seconds / 60.0 / (self.minutes or 1.0)


@dataclass(frozen=True)
class FitConfig:
    """Settings of a training; the defaults train `tally` from nothing.

    Attributes
    ----------
    crop, batch
        Side of the largest crops at model scale, and how many of them make a step;
        smaller crops make up for it in number.
    count_batch, count_every
        Whole images with counts only: images per step, and how often such a step
        is mixed in.
    learning_rate, weight_decay, warmup
        AdamW; the rate rises over ``warmup`` (a share of the budget) and falls
        along a cosine.
    average
        Decay of the exponential average of the weights.
    validate_every
        Steps between validations; None for three per validation image and one per
        training image that is read to finish the weights before, but at least
        ``FEWEST_STEPS``, so that most of the time goes into learning.
    block_weight, count_weight, prototype_weight, diversity_weight, tolerance
        Weights of the losses; tolerance is τ of the diversity loss.
    context_dropout
        Share of crops that are shown without global context.
    seed
        Source of all chance.
    set_weights
        How often a data set's crops are drawn against the others', by its name; 1
        where it is not named.
    augmentation
        None for none.
    set_augmentations
        That of a data set by its name, where it is not the others'.
    """

    crop: int = 256
    batch: int = 8
    count_batch: int = 4
    count_every: int = 4
    learning_rate: float = 1.5e-3
    weight_decay: float = 1e-2
    warmup: float = 0.03
    average: float = 0.998
    validate_every: int | None = None
    block_weight: float = 10.0
    count_weight: float = 0.004
    prototype_weight: float = 0.1
    diversity_weight: float = 1.0
    tolerance: float = 0.2
    context_dropout: float = 0.3
    seed: int = 0
    set_weights: Mapping[str, float] = field(default_factory=dict)
    augmentation: Augmentation | None = field(default_factory=Augmentation)
    set_augmentations: Mapping[str, Augmentation] = field(default_factory=dict)


def make_fabric(device: str = "auto", *, devices: int = 1) -> Fabric:
    """Lightning Fabric for a device by name; bfloat16 where it is fast.

    Raises
    ------
    UserError
        For an unknown or missing device, or more devices than there are.
    """
    target = resolve_device(device)
    there = {"cpu": os.cpu_count() or 1, "cuda": torch.cuda.device_count()}.get(target.type, 1)
    if not 1 <= devices <= there:
        raise UserError(
            f"a training cannot use {devices} devices of the kind {target.type!r}; "
            f"give a number from 1 to {there}"
        )
    fast = target.type == "cuda" or (target.type == "cpu" and cpu_is_good_at_bfloat16())
    before = logging.root.manager.disable
    logging.disable(logging.INFO)  # else it tells the user which precision it uses
    try:
        fabric = Fabric(
            accelerator="gpu" if target.type == "cuda" else target.type,
            devices=[target.index or 0] if target.type == "cuda" and devices == 1 else devices,
            precision="bf16-mixed" if fast else "32-true",
        )
        fabric.launch()
    finally:
        logging.disable(before)
    return fabric


def iter_fit(
    network: CountingNetwork,
    train: Sequence[PreparedImage],
    val: Sequence[PreparedImage],
    config: FitConfig,
    budget: Budget,
    fabric: Fabric,
    *,
    nominal_px: float,
    parameters: Iterable[nn.Parameter] | None = None,
    loss: Callable[[CountingNetwork, Batch, FitConfig], Tensor] | None = None,
    stage: Stage | None = None,
    finish: Callable[[CountingNetwork], Generator[Progress, None, None]] | None = None,
    on_best: Callable[[CountingNetwork, int], None] | None = None,
) -> Generator[Progress, None, int]:
    """Train a network in place; it ends with its best averaged weights.

    However the generator ends (exhausted, closed, interrupted), the network then
    holds the averaged and finished weights that had the smallest validation error, or
    the last ones where nothing was validated: finished, unless it was ended before that.

    Parameters
    ----------
    network
        Trained in place.
    train, val
        Prepared images; ``val`` may be empty.
    config, budget
        How, and how long.
    fabric
        Device, precision, several GPUs.
    nominal_px
        Cell diameter at model scale.
    parameters
        What is trained; None for everything but the variance head.
    loss
        Loss of a batch; None for the stage's, or for the sum of all that apply.
    stage
        Part of the training of a network that has several; its parameters learn.
    finish
        Makes of averaged weights what would ship, in place, before they are validated;
        the training goes on from those that it had.
    on_best
        Called with the averaged, finished network and the step whenever it is the best
        yet, and at the end where nothing was validated (not finished, if it was ended
        before the first time).

    Yields
    ------
    Progress
        After every step, ``values`` with ``loss`` and, after a validation,
        ``val_mae`` and ``val_error``.

    Returns
    -------
    int
        Steps done.
    """
    chosen = list(parameters) if parameters is not None else _learning(network, stage)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    for parameter in chosen:
        parameter.requires_grad_(True)
    network.train().to(fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    rate = config.learning_rate * (1.0 if stage is None else stage.rate)
    optimizer = torch.optim.AdamW(
        chosen, lr=rate, weight_decay=config.weight_decay, betas=(0.9, 0.98)
    )
    batch_loss = loss or (total_loss if stage is None else _loss_of(stage))
    staged = stage is not None and loss is None
    module, optimizer = fabric.setup(
        _Staged(network, batch_loss, config) if staged else network, optimizer
    )
    if not staged:
        module.mark_forward_method("encode_context")
    averaged = AveragedModel(network, avg_fn=_average(config.average))
    mean = cast(CountingNetwork, averaged.module)
    rng = np.random.default_rng(config.seed + fabric.global_rank)
    batches = MixedBatches(network, train, config, nominal_px, rng, stage)
    every = steps_between_validations(config, val, train if finish is not None else ())
    best_error, best_weights = math.inf, None
    start, step, spent = budget.now(), 0, 0.0
    try:
        while spent < 1.0:
            for group in optimizer.param_groups:
                group["lr"] = rate * _rate(spent, config.warmup)
            batch = next(batches).to(fabric.device)
            value = module(lambda b=batch: b) if staged else batch_loss(module, batch, config)
            if not torch.isfinite(value):
                raise UserError(
                    f"the training diverged at step {step + 1} (loss {value.item()}); "
                    "lower the learning rate"
                )
            fabric.backward(value)
            fabric.clip_gradients(module, optimizer, max_norm=1.0)
            optimizer.step()
            optimizer.zero_grad()
            averaged.update_parameters(network)
            step += 1
            values = {"loss": float(value.detach())}
            # One clock for all processes: they must do the same number of steps.
            spent = fabric.broadcast(budget.spent(step, budget.now() - start))
            if spent >= 1.0 or (val and step % every == 0):
                candidate = copy.deepcopy(mean)
                with fabric.autocast():
                    _settle_norms(candidate, batches, batch_loss, config, fabric)
                _check_finite(candidate, step)
                if finish is not None:
                    yield from finish(candidate)
                error = math.inf
                if val:
                    scores = validate(candidate, val, fabric.device)
                    # One judgement for all processes: they must keep the same weights.
                    error = fabric.broadcast(overall_error(scores))
                    values |= {"val_mae": _mean_mae(scores), "val_error": error}
                if error < best_error or not val:
                    best_error, best_weights = error, candidate.state_dict()
                    if on_best is not None:
                        on_best(candidate, step)
                network.train()
            total = budget.steps or max(step, math.ceil(step / max(spent, 1e-6)))
            yield Progress(step, total, "training", values)
    except UserError:
        on_best = None  # what has diverged is worth nothing
        raise
    finally:
        batches.close()
        if best_weights is None and step and on_best is not None:
            on_best(mean, step)  # ended before the first validation
        network.load_state_dict(best_weights or mean.state_dict())
        for parameter in network.parameters():
            parameter.requires_grad_(True)
        network.eval()
    return step


def steps_between_validations(
    config: FitConfig, val: Sequence[PreparedImage], read: Sequence[PreparedImage] = ()
) -> int:
    """As ``FitConfig.validate_every`` says; ``read`` are the images that finishing reads."""
    return config.validate_every or max(FEWEST_STEPS, 3 * len(val) + len(read))


def _settle_norms(
    network: CountingNetwork,
    batches: MixedBatches,
    loss: Callable[[CountingNetwork, Batch, FitConfig], Tensor],
    config: FitConfig,
    fabric: Fabric,
) -> None:
    """Take the statistics of batch norms anew, with the averaged weights.

    Those that the training kept belong to weights that were never averaged (Izmailov et
    al. 2018, "Averaging weights leads to wider optima", §3.2). Every process has batches of
    its own, so that of several all take the mean, and the network stays the same in each.
    """
    norms = [
        layer
        for layer in network.modules()
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and layer.weight.requires_grad
    ]
    if not norms:
        return
    kept = [layer.momentum for layer in norms]
    for layer in norms:
        layer.reset_running_stats()
        layer.momentum = None  # the mean over all batches
    network.train()
    with torch.no_grad():
        for _ in range(NORM_BATCHES):
            loss(network, next(batches).to(fabric.device), config)
    for layer, momentum in zip(norms, kept, strict=True):
        layer.momentum = momentum
        for statistics in (layer.running_mean, layer.running_var):
            if statistics is not None and fabric.world_size > 1:
                fabric.all_reduce(statistics, reduce_op="mean")  # in place


def _check_finite(network: CountingNetwork, step: int) -> None:
    """Raise a UserError where weights are no numbers; their count would be none either."""
    if not all(bool(torch.isfinite(p).all()) for p in network.parameters()):
        raise UserError(
            f"the training diverged at step {step} (weights that are no numbers); "
            "lower the learning rate"
        )


def total_loss(network: CountingNetwork, batch: Batch, config: FitConfig) -> Tensor:
    """Sum of the losses that apply to a batch and to what the network can do.

    Batches with dots ask for density and counts, in blocks and of the whole crop, others
    for the count of the image; networks with prototypes are asked for their prototypes'
    groups as well.
    """
    context = network.encode_context(batch.thumbnails)
    if context is not None and config.context_dropout:
        kept = torch.rand(len(context), 1, device=context.device) >= config.context_dropout
        context = context * kept
    output: Output = network(batch.images, context)
    if batch.density is None:
        return config.count_weight * losses.count_loss(_inside(output.density, batch), batch.counts)
    gain = float(getattr(network.config, "gain", 1.0))
    total = losses.density_loss(output.density, batch.density, gain)
    total = total + config.block_weight * losses.block_count_loss(
        output.density, batch.density, losses.BLOCKS
    )
    total = total + config.count_weight * losses.count_loss(output.density, batch.counts)
    bare = _bare(network)
    if isinstance(bare, HasPrototypes) and output.distances is not None:
        cells = bare.prototype_kinds.count("cell")
        total = total + config.prototype_weight * losses.prototype_to_feature_loss(
            output.distances, batch.density, cells
        )
        total = total + config.diversity_weight * losses.diversity_loss(
            bare.prototypes, cells, config.tolerance
        )
    return total


def variance_only(network: CountingNetwork, batch: Batch, config: FitConfig) -> Tensor:
    """Loss of the variance head; nothing else learns from it."""
    output: Output = network(batch.images, network.encode_context(batch.thumbnails))
    if batch.density is None:
        error = (_inside(output.density, batch).sum(dim=(1, 2, 3)) - batch.counts).detach()
        variance = _inside(output.log_variance.exp(), batch).sum(dim=(1, 2, 3)) + 1e-6
        # One number per image: the block is the image.
        return 0.5 * (error.square() / variance + variance.log()).mean()
    return losses.variance_loss(
        output.density, output.log_variance, batch.density, (8, 32, batch.density.shape[-1])
    )


def _inside(density: Tensor, batch: Batch) -> Tensor:
    """Zero what lies in the padding around the images, as predictions cut it off."""
    return density if batch.inside is None else density * batch.inside


def _learning(network: CountingNetwork, stage: Stage | None) -> list[nn.Parameter]:
    """Choose what learns where the caller does not."""
    if stage is not None and isinstance(network, HasStages):
        return network.stage_parameters(stage)
    return all_but_variance(network)


def _loss_of(stage: Stage) -> Callable[[CountingNetwork, Batch, FitConfig], Tensor]:
    """Loss of a part, as the network has it."""

    def loss(network: CountingNetwork, batch: Batch, config: FitConfig) -> Tensor:
        context = network.encode_context(batch.thumbnails)
        return cast(HasStages, network).stage_loss(stage, batch.images, context, batch.target)

    return loss


class _Staged(nn.Module):
    """A network and the loss of one of its parts, which Fabric calls as one.

    It takes a batch in an envelope. Fabric opens what it hands to one process of several: it
    would round a true count of 1,234 to bfloat16's 1,232, and stumble over a ``Stage``.
    """

    def __init__(
        self,
        network: CountingNetwork,
        loss: Callable[[CountingNetwork, Batch, FitConfig], Tensor],
        config: FitConfig,
    ) -> None:
        super().__init__()
        self.network, self.loss, self.config = network, loss, config

    def forward(self, envelope: Callable[[], Batch]) -> Tensor:
        batch = envelope()
        # In float32, with one process as with several.
        with torch.autocast(batch.images.device.type, enabled=False):
            return self.loss(self.network, batch, self.config)


def _bare(network: nn.Module) -> nn.Module:
    """Take the network out of Fabric's wrapper, to ask what it can do."""
    inner = getattr(network, "module", network)
    return inner if isinstance(inner, nn.Module) else network


def _average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """Exponential average whose memory grows with the steps, so that the start is forgotten."""

    def update(average: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
        early = (1.0 + float(steps)) / (10.0 + float(steps))
        return torch.lerp(average, current, 1.0 - min(decay, early))

    return update


def _rate(spent: float, warmup: float) -> float:
    if spent < warmup:
        return max(0.02, spent / warmup)
    return 0.5 * (1.0 + math.cos(math.pi * (spent - warmup) / (1.0 - warmup))) + 1e-3


def _mean_mae(scores: dict[str, Scores]) -> float:
    return float(np.mean([s.mae for s in scores.values()]))
