"""Prototypes learned anew on the features of a counter that is there already.

CountXplain (MIDL 2025) freezes CSRNet before its prototypes learn. The features of whole
images are then the same at every step; computed once, they let the prototypes of every
variant learn for thousands of steps in a minute, on a counter that has learned enough.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from accuracy_lib.systems import GivenModel, Job, Measured, Measuring
from torch import Tensor, nn

from celltally.density import density_map
from celltally.explain.boxes import FLOOR, PERCENTILE
from celltally.learn.batches import SIGMA
from celltally.learn.data import read_dataset
from celltally.learn.features import model_grid
from celltally.learn.prepare import PreparedImage, prepare
from celltally.learn.projected import Head, Projected
from celltally.learn.push import iter_project
from celltally.learn.refit import iter_refit
from celltally.model import Model
from celltally.networks import Target, build
from celltally.networks.countxplain import PROTOTYPES, CountXplain
from celltally.record import canonical_json, sha256_of
from celltally.scale import MARGIN, pad_with_margin
from celltally.types import Progress
from explanations_lib.variants import VARIANTS, measure_explained

__all__ = ["FrozenVariant"]

#: Whole images per step, and the peak of the learning rate, which falls along a cosine.
BATCH, RATE = 4, 1.5e-3
CPU = torch.device("cpu")


@dataclass(frozen=True)
class FrozenVariant:
    """`countxplain` with the counter of a given model and prototypes of its own.

    Attributes
    ----------
    losses
        Name in ``VARIANTS``.
    counter
        The model whose counter stays as it is.
    steps
        Of the training of the prototypes.
    config
        Settings other than the given model's.
    """

    losses: str
    counter: GivenModel
    steps: int
    config: Mapping[str, Any] = field(default_factory=dict)
    kind: ClassVar[str] = "variant"
    learns: ClassVar[bool] = True

    @property
    def whole(self) -> str:
        """Name of all variants together."""
        told = " ".join(f"{name} {value}" for name, value in self.config.items())
        changed = f" ({told})" if told else ""
        return f"countxplain{changed} on the counter of {self.counter.label}, {self.steps} steps"

    @property
    def label(self) -> str:
        """Name of the row."""
        return f"{self.whole}: {self.losses}"

    def recipe(self) -> dict[str, Any]:
        """Tell what is trained."""
        given = {"counter": self.counter.record.sha256, "steps": self.steps}
        return {**given, "losses": self.changed}

    @property
    def changed(self) -> dict[str, Any]:
        """Settings other than the given model's, without the losses that are taken away."""
        return {**self.config, **VARIANTS[self.losses]}

    def identity(self) -> dict[str, Any]:
        """Tell what is trained, and by which rule boxes are drawn."""
        return {**self.recipe(), "boxes": [PERCENTILE, FLOOR]}

    def measure(self, job: Job) -> Measuring:
        """Train it, unless that has been done, count and explain."""
        measured = yield from measure_explained((yield from self.trained(job)), job)
        named = {"network": self.whole, "losses": self.losses}
        return Measured({**measured.figures, **named}, measured.per_image)

    def trained(self, job: Job) -> Generator[Progress, None, Path]:
        """Train it, unless that has been done; its folder."""
        digest = sha256_of(canonical_json({**self.recipe(), "set": str(job.train.resolve()),
                                           "seed": job.seed}))[:10]  # fmt: skip
        folder = job.out / "networks" / f"frozen-{self.losses.replace(' ', '-')}-{digest}"
        if folder.is_dir():
            return folder
        model = Model.load(self.counter.folder)
        dataset = read_dataset(job.train)
        images = yield from prepare([(dataset, s) for s in dataset.samples], model.diameter_px)
        torch.manual_seed(job.seed or 0)
        config = {**self.counter.record.config, **self.changed}
        network = build(self.counter.record.network, config)
        if not (isinstance(network, CountXplain) and isinstance(model.network, CountXplain)):
            raise TypeError(f"{self.counter.label} is no countxplain")
        network.layers.load_state_dict(model.network.layers.state_dict())
        network.counter.load_state_dict(model.network.counter.state_dict())
        network.eval()
        yield from _learn(network, images, self.steps, model.diameter_px, job.seed or 0)
        where: dict[str, Any] = {"nominal_px": model.diameter_px, "device": CPU}
        learned = Head.of(network)
        projection = yield from iter_project(network, images, **where)
        projected = Projected(learned, Head.of(network), projection.astray)
        yield from iter_refit(network, images, **where)
        training = {
            "steps": self.steps, **projected.figures(network, network.config.tolerance),
        }  # fmt: skip
        unfinished = job.out / "unfinished" / folder.name
        shutil.rmtree(unfinished, ignore_errors=True)
        for place in (folder, unfinished):
            place.parent.mkdir(parents=True, exist_ok=True)
        Model.from_network(
            network, name=folder.name, diameter_px=model.diameter_px, training=training
        ).save(unfinished)
        return unfinished.rename(folder)


def _learn(
    network: CountXplain, images: list[PreparedImage], steps: int, nominal_px: float, seed: int
) -> Generator[Progress, None, None]:
    """Train projection, prototypes and last layer on features that are computed once."""
    known = [_seen(network, image, nominal_px) for image in images if image.yx is not None]
    layers, network.layers = network.layers, nn.Identity()
    parameters = [*network.project.parameters(), *network.head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=1e-2, betas=(0.9, 0.98))
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.zero_grad()
        chosen = torch.randint(len(known), (BATCH,), generator=generator).tolist()
        for features, density in (known[i] for i in chosen):
            target = Target(density.sum(dim=(1, 2, 3)), density)
            (network.stage_loss(PROTOTYPES, features, None, target) / BATCH).backward()
        optimizer.step()
        yield Progress(step + 1, steps, "training")
    network.layers = layers


def _seen(network: CountXplain, image: PreparedImage, nominal_px: float) -> tuple[Tensor, Tensor]:
    """CSRNet's features of an image on its own grid, and its true density."""
    grid = model_grid(image, network.stride)
    values = pad_with_margin(image.values.float().expand(3, -1, -1)[None], network.multiple)
    first = MARGIN // network.stride
    rows, columns = (slice(first, first + n) for n in grid.shape)
    with torch.no_grad():
        features = network.layers(values)[..., rows, columns].contiguous()
    density = torch.from_numpy(density_map(image.yx, grid, SIGMA * nominal_px))
    return features, density[None, None].float()
