"""Learn the estimate of the cell diameter: ``python -m celltally.learn.diameter DATA… OUT``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.filters import threshold_otsu
from torch import nn
from torch.nn import functional

from celltally.diameter import BANDS, FIRST_SIGMA, band_features
from celltally.io import read_image, select_pixels
from celltally.learn.data import read_dataset, sample_dots
from celltally.preprocess import normalise
from celltally.scale import rescale

__all__ = ["diameter_from_dots", "examples", "learn_diameter"]

#: Every image is shown at its own size and at this many others.
RESCALINGS = 5
SHRINK, ENLARGE = 0.35, 2.2


def examples(
    folders: Sequence[Path], *, rescalings: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], list[str]]:
    """Features ``(n, 4, BANDS)``, true diameters ``(n,)`` and data set of images.

    The truth is the data set's diameter, or where it has none the foreground's area
    per dot.
    """
    rng = np.random.default_rng(seed)
    features, diameters, names = [], [], []
    for dataset in map(read_dataset, folders):
        for sample in dataset.samples:
            pixels = select_pixels(read_image(sample.image), channel=dataset.channel)
            values, scaling = normalise(pixels)
            diameter = dataset.diameter_px
            if diameter is None and sample.dots is not None:
                diameter = diameter_from_dots(values.mean(axis=0), len(sample_dots(sample)))
            if scaling.empty or diameter is None or sample.count == 0:
                continue
            factors = [1.0, *np.exp(rng.uniform(np.log(SHRINK), np.log(ENLARGE), rescalings))]
            for factor in factors:
                shape = tuple(max(16, round(side * factor)) for side in values.shape[1:])
                grey = rescale(values, shape).mean(dim=0).numpy()
                features.append(band_features(grey))
                diameters.append(diameter * factor)
                names.append(dataset.name)
    return np.stack(features), np.array(diameters, dtype=np.float32), names


def diameter_from_dots(grey: NDArray[np.float32], dots: int) -> float | None:
    """Mean cell diameter in pixels of a fluorescence image whose number of cells is known.

    The foreground's area (Otsu's threshold) is shared by the dots. None without
    dots.
    """
    if dots == 0 or not grey.max() > grey.min():
        return None
    area = float((grey > threshold_otsu(np.sqrt(np.clip(grey, 0, None))) ** 2).sum())
    return max(4.0, 2.0 * float(np.sqrt(area / dots / np.pi)))


def learn_diameter(
    features: NDArray[np.float32],
    diameters: NDArray[np.float32],
    names: Sequence[str],
    *,
    steps: int = 3000,
    seed: int = 0,
) -> dict[str, NDArray[np.float32]]:
    """Fit the network over the bands; every data set weighs the same."""
    torch.manual_seed(seed)
    layers = nn.ModuleList(
        [nn.Conv1d(4, 16, 3, padding=1, padding_mode="replicate"),
         nn.Conv1d(16, 16, 5, padding=2, padding_mode="replicate"),
         nn.Conv1d(16, 1, 3, padding=1, padding_mode="replicate")]
    )  # fmt: skip
    shift = nn.Parameter(torch.zeros(1))
    x = torch.from_numpy(features)
    truth = 2 * torch.log2(torch.from_numpy(diameters) / FIRST_SIGMA)
    sizes = {name: names.count(name) for name in set(names)}
    weight = torch.tensor([1.0 / sizes[name] for name in names])
    weight = weight / weight.sum()
    optimizer = torch.optim.AdamW([*layers.parameters(), shift], lr=5e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    for _ in range(steps):
        noisy = x + 0.05 * torch.randn_like(x)
        hidden = layers[1](layers[0](noisy).relu()).relu()
        share = layers[2](hidden)[:, 0].softmax(dim=1)
        found = share @ torch.arange(BANDS, dtype=torch.float32) + shift
        loss = (functional.huber_loss(found, truth, reduction="none", delta=0.5) * weight).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    learned = {"shift": shift}
    for i, layer in enumerate(layers, start=1):
        learned |= {f"kernel{i}": layer.weight, f"bias{i}": layer.bias}  # type: ignore[dict-item]
    return {name: p.detach().numpy().astype(np.float32) for name, p in learned.items()}


def main(arguments: Sequence[str]) -> None:
    """Learn from data set folders and store the weights in the last argument."""
    *folders, out = map(Path, arguments)
    features, diameters, names = examples(folders, rescalings=RESCALINGS, seed=0)
    np.savez(out, **learn_diameter(features, diameters, names))  # type: ignore[arg-type]


if __name__ == "__main__":
    main(sys.argv[1:])
