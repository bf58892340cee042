"""The loop that learns from reviewed regions: few windows, few steps, near to where it started.

What keeps a network from unlearning: patches of what its parent learned from are shown along
with the regions, with the parent's own density as what is asked for (learning without
forgetting, Li & Hoiem 2016, eq. 1), and weights are pulled towards the parent's (L²-SP, Li et
al. 2018, eq. 2).
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from celltally.devices import autocast
from celltally.errors import UserError
from celltally.learn.augment import AUGMENTATIONS, Augmentation
from celltally.learn.regions.batches import RegionBatch, RegionBatches, as_they_are
from celltally.learn.regions.windows import Window
from celltally.networks import CountingNetwork, all_but_variance, losses
from celltally.progress import relay, standing
from celltally.types import Progress

__all__ = ["RegionFit", "iter_fit_regions", "iter_mean_loss", "region_loss"]


@dataclass(frozen=True)
class RegionFit:
    """How to learn from regions.

    Attributes
    ----------
    seconds
        About how long; the number of steps follows from how long the first ones take.
    steps
        How many steps; None to go by ``seconds``. Most, at any rate: more would learn the
        regions by heart.
    learning_rate
        At its peak.
    pixels
        Pixels of regions, at model scale, in a step; a third as many of the replay are added.
    pull
        Weight of the squared distance to the parent's weights.
    replay
        Weight of the loss of the replay.
    block_weight, count_weight
        Of the losses of counts in blocks and of whole regions.
    average
        Decay of the running average of the weights.
    validations
        How often the kept-back regions are looked at.
    augmentation
        Of the regions.
    seed
        Of all chance.
    """

    seconds: float = 30.0
    steps: int | None = None
    most_steps: int = 120
    learning_rate: float = 1e-3
    pixels: int = 240_000
    pull: float = 1e-2
    replay: float = 1.0
    block_weight: float = 10.0
    count_weight: float = 0.02
    average: float = 0.95
    validations: int = 8
    augmentation: Augmentation | None = field(default_factory=lambda: AUGMENTATIONS["mild"])
    seed: int = 0


#: Steps that are timed before their number is set, and the least number of steps.
TIMED, LEAST_STEPS = 3, 20
#: A loss of kept-back regions that is this many times the least one is clearly above it.
CLEARLY = 1.2
#: Share of the steps in which the learning rate rises.
WARMUP = 0.1


def iter_fit_regions(
    network: CountingNetwork,
    windows: Sequence[Window],
    kept_back: Sequence[Window],
    replay: Sequence[Window],
    config: RegionFit,
    device: torch.device,
) -> Generator[Progress, None, int]:
    """Fit a network to windows, in place; it ends with its best averaged weights.

    Parameters
    ----------
    network
        Changed in place, once the loop is through; until then it stays as it is.
    windows
        What teaches; at least one.
    kept_back
        What chooses the weights; without, the last ones are kept.
    replay
        What must not be unlearned; their targets are what is asked for.
    config, device
        How, and where.

    Yields
    ------
    Progress
        After every step, with ``loss``, and now and then ``val_loss``.

    Returns
    -------
    int
        Steps done until the weights that are kept.

    Raises
    ------
    UserError
        When the training diverges.
    """
    rng = np.random.default_rng(config.seed)
    student = copy.deepcopy(network).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    student.train()
    learning = {id(p) for p in all_but_variance(student)}
    for parameter in student.parameters():
        parameter.requires_grad_(id(parameter) in learning)
    chosen = [p for p in student.parameters() if p.requires_grad]
    anchors = [p.detach().clone() for p in chosen]
    mean = [p.detach().clone() for p in chosen]
    optimizer = torch.optim.AdamW(
        chosen, lr=config.learning_rate, weight_decay=0, betas=(0.9, 0.98)
    )
    stride = student.stride
    batches = RegionBatches(
        windows, pixels=config.pixels, stride=stride, augmentation=config.augmentation, rng=rng
    )
    rehearsal = (
        RegionBatches(replay, pixels=config.pixels // 3, stride=stride, augmentation=None, rng=rng)
        if replay and config.replay
        else None
    )
    total = config.steps or config.most_steps
    judged: list[tuple[float, int, list[Tensor]]] = []
    start = time.perf_counter()
    step = 0
    while step < total:
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * _rate((step + 0.5) / total)
        loss = region_loss(student, next(batches).to(device), config)
        if rehearsal is not None:
            loss = loss + config.replay * region_loss(student, next(rehearsal).to(device), config)
        if config.pull:
            away = [(p - a).square().sum() for p, a in zip(chosen, anchors, strict=True)]
            loss = loss + config.pull * torch.stack(away).sum()
        if not torch.isfinite(loss):
            raise UserError(
                f"learning diverged at step {step + 1} (loss {loss.item()}); look for corrections "
                "that contradict each other"
            )
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(chosen, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        decay = min(config.average, (1.0 + step) / (10.0 + step))
        with torch.no_grad():
            for average, p in zip(mean, chosen, strict=True):
                average.lerp_(p, 1.0 - decay)
        step += 1
        values = {"loss": float(loss.detach())}
        if config.steps is None and step == TIMED:
            each = (time.perf_counter() - start) / TIMED
            total = int(min(max(config.seconds / max(each, 1e-3), LEAST_STEPS), config.most_steps))
        every = max(1, total // max(config.validations, 1))
        if kept_back and (step % every == 0 or step == total) and step > TIMED:
            job = iter_mean_loss(student, kept_back, config, device)
            with _Exchanged(chosen, mean):
                score = yield from relay(job, standing(Progress(step - 1, total, "learning")))
            values["val_loss"] = score
            judged.append((score, step, [m.clone() for m in mean]))
        yield Progress(step, total, "learning", values)
    with torch.no_grad():
        kept_step, kept = _chosen(judged) if judged else (step, mean)
        for p, value in zip(chosen, kept, strict=True):
            p.copy_(value)
    network.load_state_dict({name: t.cpu() for name, t in student.state_dict().items()})
    network.eval()
    return kept_step


def _chosen(judged: Sequence[tuple[float, int, list[Tensor]]]) -> tuple[int, list[Tensor]]:
    """Choose the last weights whose loss is not clearly above the least.

    A region or two that are kept back cannot tell small differences, and what learned for
    longer is settled better.
    """
    least = min(score for score, _, _ in judged)
    _, step, weights = [one for one in judged if one[0] <= CLEARLY * least][-1]
    return step, weights


def region_loss(network: CountingNetwork, batch: RegionBatch, config: RegionFit) -> Tensor:
    """Loss of a batch: density and counts in blocks where dots are known, else the stated count."""
    with autocast(batch.images.device):
        output = network(batch.images, network.encode_context(batch.thumbnails))
    density = output.density
    dotted = torch.isnan(batch.stated)
    total: Tensor = density.new_zeros(())
    if bool(dotted.any()):
        # Corrected places weigh more where they are, not in what they add up to.
        weight = batch.weight[dotted]
        known = (weight > 0).to(density.dtype)
        said, target = density[dotted], batch.target[dotted]
        gain = float(getattr(network.config, "gain", 1.0))
        total = total + losses.density_loss(said, target, gain, weight)
        blocks = losses.block_count_loss(said, target, losses.BLOCKS, weight)
        total = total + config.block_weight * blocks
        counts = (target * known).sum(dim=(1, 2, 3))
        total = total + config.count_weight * losses.count_loss(said * known, counts)
    if not bool(dotted.all()):
        inside = batch.weight[~dotted]
        counted = losses.count_loss(density[~dotted] * inside, batch.stated[~dotted])
        total = total + STATED_WEIGHT * counted
    return total


#: Weight of a stated count: all that is known of its region.
STATED_WEIGHT = 0.2


def iter_mean_loss(
    network: CountingNetwork, windows: Sequence[Window], config: RegionFit, device: torch.device
) -> Generator[Progress, None, float]:
    """Mean loss of windows as they are, each with the weight of its number of pixels."""
    was_training = network.training
    network.eval()
    total, pixels, done = 0.0, 0, 0
    for batch in as_they_are(windows, config.pixels, network.stride):
        with torch.inference_mode():
            loss = float(region_loss(network, batch.to(device), config))
        size = int(batch.images.shape[0] * batch.images.shape[2] * batch.images.shape[3])
        total, pixels, done = total + loss * size, pixels + size, done + len(batch.images)
        yield Progress(done, len(windows), "looking at what was kept back")
    network.train(was_training)
    return total / max(pixels, 1)


class _Exchanged:
    """Put other weights into parameters for a while."""

    def __init__(self, parameters: Sequence[Tensor], others: Sequence[Tensor]) -> None:
        self.parameters, self.others = parameters, others

    def __enter__(self) -> None:
        self._exchange()

    def __exit__(self, *_: object) -> None:
        self._exchange()

    def _exchange(self) -> None:
        with torch.no_grad():
            for p, other in zip(self.parameters, self.others, strict=True):
                kept = p.clone()
                p.copy_(other)
                other.copy_(kept)


def _rate(spent: float) -> float:
    """Share of the learning rate: up in a tenth of the steps, then down a cosine."""
    if spent < WARMUP:
        return spent / WARMUP
    return 0.5 * (1.0 + math.cos(math.pi * (spent - WARMUP) / (1.0 - WARMUP)))
