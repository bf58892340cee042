"""Which images a training draws its batches from, and in which turn."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch

from celltally.errors import UserError
from celltally.learn.batches import Batch, CountBatches, DotBatches
from celltally.learn.prepare import PreparedImage
from celltally.networks import CountingNetwork, HasStages, Stage
from celltally.scale import MARGIN

if TYPE_CHECKING:
    from celltally.learn.fit import FitConfig

__all__ = ["MixedBatches"]


class MixedBatches:
    """Batches of both kinds in turn, as far as there are images for them."""

    def __init__(
        self,
        network: CountingNetwork,
        images: Sequence[PreparedImage],
        config: FitConfig,
        nominal_px: float,
        rng: np.random.Generator,
        stage: Stage | None = None,
    ) -> None:
        dotted = [image for image in images if image.yx is not None]
        counted = [image for image in images if image.yx is None]
        if not dotted and not counted:
            raise UserError("there is no image to learn from; give data sets with labels")
        needs = None if stage is None else stage.supervision
        whole, masks = stage is not None and stage.whole, needs == "masks"
        if masks:
            # Images with counts only have a mask as well: Otsu's, which needs sharp borders.
            counted = [i for i in counted if i.sample.mask is not None or i.sample.in_focus]
        elif stage is not None and needs != "counts":
            if not dotted:
                raise UserError(
                    f"the {stage.name} of this network cannot learn from counts only; give data "
                    "sets with dots"
                )
            counted = []
        elif counted and "counts" not in network.supervision:
            if not (dotted and isinstance(network, HasStages)):
                raise UserError(
                    "this network cannot learn from counts only; give data sets with dots"
                )
            counted = []  # its stages have left them out as well
        if whole:
            dotted, counted = [], [*dotted, *counted]
        if not dotted and not counted:
            raise UserError(
                "this network must learn masks first, and no image is in focus or has dots; give "
                "data sets with such images"
            )
        self.every, self.step = config.count_every, 0
        self.dots = (
            DotBatches(
                dotted,
                size=config.crop,
                count=config.batch,
                multiple=network.multiple,
                stride=network.stride,
                nominal_px=nominal_px,
                rng=rng,
                augmentation=config.augmentation,
                set_weights=config.set_weights,
                set_augmentations=config.set_augmentations,
            )
            if dotted
            else None
        )
        self.counts = (
            CountBatches(
                counted,
                count=config.count_batch,
                multiple=network.multiple,
                stride=network.stride,
                rng=rng,
                augmentation=config.augmentation,
                set_augmentations=config.set_augmentations,
                margin=0 if network.halo is None else MARGIN,
                masks=masks,
            )
            if counted
            else None
        )

        # The next batch is drawn while the network learns from this one; one thread
        # only, so that the same seed gives the same batches, and without threads of
        # its own: two OpenMP teams on few cores spin against each other (measured:
        # four times slower).
        self.executor = ThreadPoolExecutor(1, "batches", torch.set_num_threads, (1,))
        self.coming = self.executor.submit(self._draw)

    def __next__(self) -> Batch:
        """Give the batch that was drawn meanwhile."""
        batch = self.coming.result()
        self.coming = self.executor.submit(self._draw)
        return batch

    def close(self) -> None:
        """Stop drawing."""
        self.executor.shutdown(wait=True, cancel_futures=True)

    def _draw(self) -> Batch:
        self.step += 1
        if self.counts and (self.dots is None or self.step % self.every == 0):
            return next(self.counts)
        assert self.dots is not None  # the constructor saw to it
        return next(self.dots)
