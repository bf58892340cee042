"""What may happen to an image between two microscopes without changing its count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from skimage.color import hed_from_rgb, rgb_from_hed
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from celltally.preprocess import normalise

__all__ = ["AUGMENTATIONS", "Augmentation", "Change", "blank_field", "is_transmitted", "name_of"]

#: A colour image whose mean is above this is taken to be in transmitted light.
TRANSMITTED = 0.4


@dataclass(frozen=True)
class Augmentation:
    """Strengths of the changes; each is drawn anew for every crop.

    They are mild on purpose: a network that must find cells which noise and blur
    have all but wiped out may see some in clean images where there are none.

    Attributes
    ----------
    zoom
        Largest factor by which a cell is made larger or smaller.
    gamma, gain
        Largest factors on the exponent and on the height of intensities.
    noise
        Largest standard deviation of added noise, on the scale 0 … 1.
    blur
        Largest sigma of the blur, in pixels at model scale.
    hue, saturation
        Largest shift of hue (fraction of the circle) and factor on saturation, of
        colour images.
    stain
        Largest factor on the amount of each stain, of images in transmitted light.
    blank
        Share of crops replaced by empty fields.
    """

    zoom: float = 1.25
    gamma: float = 1.25
    gain: float = 1.15
    noise: float = 0.03
    blur: float = 0.8
    hue: float = 0.02
    saturation: float = 1.2
    stain: float = 1.4
    blank: float = 0.03

    def draw(self, rng: np.random.Generator) -> Change:
        """Draw one change; every number is drawn, whatever an image then takes of it."""
        return Change(
            gamma=_factor(rng, self.gamma),
            gain=_factor(rng, self.gain),
            stains=(_factor(rng, self.stain), _factor(rng, self.stain), _factor(rng, self.stain)),
            hue=float(rng.uniform(-self.hue, self.hue)),
            saturation=_factor(rng, self.saturation),
            blur=float(rng.uniform(0.3, self.blur)) if rng.random() < 0.15 else 0.0,
            noise=float(rng.uniform(0, self.noise)) if rng.random() < 0.3 else 0.0,
        )

    def photometric(self, values: Tensor, rng: np.random.Generator) -> Tensor:
        """Change the intensities of an image, ``(C, h, w)`` values, C = 1 or 3."""
        change = self.draw(rng)
        return change.sharpness(change.light(values, is_transmitted(values)), rng)


#: Strengths by name: for images of many microscopes and stains, of one, and for images
#: that are made alike (simulated ones).
AUGMENTATIONS: Mapping[str, Augmentation] = {
    "full": Augmentation(),
    "mild": Augmentation(
        zoom=1.15, gamma=1.15, gain=1.1, noise=0.02, blur=0.6, hue=0.01, saturation=1.1,
        stain=1.15, blank=0.02,
    ),
    "slight": Augmentation(
        zoom=1.04, gamma=1.03, gain=1.03, noise=0.01, blur=0.4, hue=0.003, saturation=1.03,
        stain=1.03, blank=0.01,
    ),
}  # fmt: skip


def name_of(augmentation: Augmentation | None) -> str:
    """Name of strengths, for the record."""
    if augmentation is None:
        return "none"
    names = (name for name, strengths in AUGMENTATIONS.items() if strengths == augmentation)
    return next(names, str(augmentation))


@dataclass(frozen=True)
class Change:
    """What happens to one image; the attributes are drawn as ``Augmentation`` says."""

    gamma: float
    gain: float
    stains: tuple[float, float, float]
    hue: float
    saturation: float
    blur: float
    noise: float

    def light(self, values: Tensor, transmitted: bool) -> Tensor:
        """Change brightness and colours of an image or of a part of it.

        Parameters
        ----------
        values
            ``(C, h, w)``, C = 1 or 3.
        transmitted
            Whether the image is in transmitted light, so that it may be stained.
        """
        values = values.sign() * values.abs() ** self.gamma * self.gain
        if values.shape[0] == 3:
            values = values.clamp(0, 1)
            if transmitted:
                values = _restain(values, self.stains)
            values = transforms.adjust_hue(values, self.hue)
            values = transforms.adjust_saturation(values, self.saturation)
        return values

    def sharpness(self, values: Tensor, rng: np.random.Generator) -> Tensor:
        """Blur and add noise, pixel by pixel."""
        radius = round(2 * self.blur)
        if 0 < radius < min(values.shape[1:]):  # smaller ones cannot be mirrored that far
            values = transforms.gaussian_blur(values, [2 * radius + 1] * 2, [self.blur] * 2)
        if self.noise:
            noise = torch.from_numpy(rng.standard_normal(tuple(values.shape), dtype=np.float32))
            values = values + noise * self.noise
        return values


def is_transmitted(values: Tensor) -> bool:
    """Whether ``(C, h, w)`` values of a whole image are those of a stained slide."""
    return values.shape[0] == 3 and float(values.mean()) > TRANSMITTED


def _restain(values: Tensor, factors: tuple[float, float, float]) -> Tensor:
    """Multiply the amounts of haematoxylin, eosin and what is left, ``(3, h, w)``.

    Colour deconvolution of Ruifrok & Johnston (2001): stains subtract light, so that
    their amounts add up in the logarithm.
    """
    change = torch.from_numpy(hed_from_rgb @ np.diag(factors) @ rgb_from_hed).float()
    absorbed = -values.clamp_min(0.01).log()
    return torch.einsum("chw,cd->dhw", absorbed, change).neg().exp().clamp(0, 1)


def blank_field(size: int, rng: np.random.Generator) -> Tensor:
    """Draw an empty field as a camera sees it, normalised by its range, ``(1, size, size)``.

    Uneven light, coarse and fine noise and sometimes hot pixels: everything that
    percentiles blow up when there is nothing to see.
    """
    y, x = np.mgrid[0:size, 0:size] / size
    field = rng.normal(0, 0.5) * y + rng.normal(0, 0.5) * x + rng.normal(0, 0.5) * (x - 0.5) ** 2
    field = field * rng.choice([0.0, 1.0, 3.0])
    for sigma in rng.choice([0.0, 0.5, 1.0, 3.0], 2):
        noise = torch.from_numpy(rng.standard_normal((1, size, size)))
        if sigma:
            kernel = [2 * round(3 * sigma) + 1] * 2
            noise = transforms.gaussian_blur(noise, kernel, [float(sigma)] * 2)
            noise = noise / noise.std()
        field = field + noise[0].numpy() * rng.uniform(0.1, 1.0)
    if rng.random() < 0.3:
        spots = rng.integers(0, size, (rng.integers(1, 6), 2))
        field[spots[:, 0], spots[:, 1]] += rng.uniform(3, 20)
    values, _ = normalise(field.astype(np.float32))
    return torch.from_numpy(values)


def _factor(rng: np.random.Generator, largest: float) -> float:
    return float(largest ** rng.uniform(-1, 1))
