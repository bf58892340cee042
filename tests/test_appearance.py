from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from celltally.appearance import APPEARANCE, appearance


def cells(seed: int, diameter: float = 12.0, side: int = 192, blur: float = 0.0) -> NDArray:
    """A grey image of 30 bright discs of a diameter, normalised."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:side, :side]
    image = np.zeros((side, side))
    for y, x in rng.uniform(0, side, (30, 2)):
        image += 1 / (1 + np.exp(np.hypot(yy - y, xx - x) - diameter / 2))
    image = gaussian_filter(image, blur) if blur else image
    return (image + rng.normal(0, 0.02, image.shape)).astype(np.float32)[None]


def gap(one: dict[str, float], other: dict[str, float]) -> float:
    """Mean difference of two images, in what a figure differs by at least."""
    return float(np.mean([abs(one[name] - other[name]) / APPEARANCE[name] for name in APPEARANCE]))


def test_every_figure_is_there_and_finite() -> None:
    for values in (cells(0), np.repeat(cells(0), 3, axis=0), cells(0)[:, :3, :2]):
        found = appearance(values, 12.0)
        assert list(found) == list(APPEARANCE)
        assert np.isfinite(list(found.values())).all()


def test_images_of_a_kind_are_alike_and_others_are_not() -> None:
    here = appearance(cells(0), 12.0)
    alike = gap(here, appearance(cells(1), 12.0))
    for other in (
        appearance(cells(1, blur=4), 12.0),
        appearance(1 - cells(1), 12.0),
        appearance(cells(1, diameter=30), 12.0),
        appearance(np.concatenate([cells(1), 0 * cells(1), 0 * cells(1)]), 12.0),
    ):
        assert gap(here, other) > 2 * alike


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_structure_is_measured_in_cells_not_in_pixels(factor: int) -> None:
    small = cells(0)
    large = zoom(small[0], factor, order=1)[None]
    one, other = appearance(small, 12.0), appearance(large, 12.0 * factor)
    assert other["size"] - one["size"] == pytest.approx(np.log(factor))
    for octave in range(1, 5):  # the first one holds the noise, which the zoom has smoothed
        name = f"strength_{octave}"
        assert other[name] == pytest.approx(one[name], abs=0.35)
    assert gap(one, other) < gap(one, appearance(large, 12.0))


@pytest.mark.parametrize("shape", [(2048, 2048), (300, 12000), (9000, 200)])
def test_of_a_large_image_a_part_stands_for_all(shape: tuple[int, int]) -> None:
    tile = cells(0, side=200)[0]
    repeats = -(-np.array(shape) // 200)
    large = np.tile(tile, repeats)[: shape[0], : shape[1]][None]
    small = appearance(np.tile(tile, (3, 3))[None], 12.0)
    # In what a figure differs at least: less than two small images of a kind differ by.
    alike = gap(small, appearance(cells(1, side=200), 12.0))
    assert gap(appearance(large, 12.0), small) < 0.6 < alike
    assert gap(appearance(1 - large, 12.0), small) > 2


def test_colours_tell() -> None:
    grey = cells(0)
    red = appearance(np.concatenate([grey, 0 * grey, 0 * grey]), 12.0)
    blue = appearance(np.concatenate([0 * grey, 0 * grey, grey]), 12.0)
    assert red["red_green"] > 0 > blue["red_green"] - 1e-9
    assert blue["blue_green"] > 0
    assert red["colour"] == pytest.approx(blue["colour"])
    assert appearance(grey, 12.0)["colour"] < red["colour"]
