import numpy as np
import pytest
import torch

from celltally.diameter import check_diameter
from celltally.errors import UserError
from celltally.scale import (
    LARGEST_SIDE,
    MARGIN,
    density_grid,
    model_shape,
    pad_with_margin,
    rescale,
    thumbnail,
)


@pytest.mark.parametrize("diameter", [1, 12, 12.5, 4000.0])
def test_usable_diameters(diameter):
    assert check_diameter(diameter) is None


@pytest.mark.parametrize(
    ("diameter", "words"),
    [
        (0, "not above 0"),
        (-3.5, "-3.5 px is not above 0"),
        (0.3, "cannot be seen"),
        (1e6, "larger than any image"),
        (float("nan"), "no number"),
        (float("inf"), "no number"),
        ("12", "no number"),
        (None, "no number"),
    ],
)
def test_unusable_diameters(diameter, words):
    assert words in check_diameter(diameter)
    with pytest.raises(UserError, match=words):
        model_shape((10, 10), diameter, 12.0)


def test_model_shape():
    assert model_shape((100, 50), 24, 12) == (50, 25)
    assert model_shape((101, 50), 8, 12) == (152, 75)
    assert model_shape((3, 500), 400, 12) == (1, 15)
    assert model_shape((1, 1), 12, 12) == (1, 1)


def test_a_scale_that_no_memory_holds():
    with pytest.raises(UserError, match="give a larger diameter"):
        model_shape((LARGEST_SIDE, 10), 6, 12)


@pytest.mark.parametrize("shape", [(1, 1), (37, 53), (64, 3)])
@pytest.mark.parametrize("stride", [1, 2, 8])
def test_the_grid_covers_the_image(shape, stride):
    image = (100, 130)
    grid = density_grid(image, shape, stride)
    assert grid.origin == (-0.5, -0.5)
    for cells, step, side in zip(grid.shape, grid.step, image, strict=True):
        assert cells * step >= side - 1e-9
        assert (cells - 1) * step < side


@pytest.mark.parametrize("factor", [0.37, 0.5, 0.71, 1.0, 1.37, 3.03])
@pytest.mark.parametrize("shape", [(97, 121), (64, 50)])
def test_a_dots_peak_lands_on_the_dot(draw_cells, factor, shape):
    """Pixel edges fall on pixel edges: nothing drifts, at any scale and side."""
    dots = np.array([[12.3, 14.8], [shape[0] - 14.1, shape[1] - 12.6]])
    for dot in dots:
        values = draw_cells(dot[None], shape, sigma=4.0).astype(np.float32)[None] - 20
        scaled = tuple(max(1, round(side * factor)) for side in shape)
        small = rescale(values, scaled)[0].numpy().astype(float)
        grid = density_grid(shape, scaled, 1)
        rows, columns = np.mgrid[: scaled[0], : scaled[1]]
        mass = np.clip(small - 2, 0, None)
        centre = [(rows * mass).sum() / mass.sum() + 0.5, (columns * mass).sum() / mass.sum() + 0.5]
        assert np.abs(grid.to_image(centre)[0] - dot).max() < 0.1


def test_rescaling_keeps_means_and_averages_fine_detail():
    values = np.random.default_rng(0).random((3, 90, 60), dtype=np.float32)
    small = rescale(values, (30, 20))
    assert small.shape == (3, 30, 20)
    assert small.mean().item() == pytest.approx(values.mean(), abs=5e-3)
    assert small.std().item() < 0.5 * values.std()
    constant = rescale(np.full((1, 7, 5), 3.0, dtype=np.float32), (19, 2))
    assert torch.allclose(constant, torch.tensor(3.0))


def test_the_same_shape_is_left_alone():
    values = np.random.default_rng(0).random((1, 5, 6), dtype=np.float32)
    assert np.array_equal(rescale(values, (5, 6)).numpy(), values)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 300, 200), (3, 63, 129)])
def test_thumbnails_are_of_one_size_and_keep_the_mean(shape):
    values = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    small = thumbnail(values)
    assert small.shape == (3, 64, 64)
    assert small.mean().item() == pytest.approx(values.mean().item(), abs=0.02)


@pytest.mark.parametrize(
    ("shape", "expected"), [((5, 9), (72, 80)), ((8, 8), (72, 72)), ((1, 1), (72, 72))]
)
def test_the_margin_and_the_multiple(shape, expected):
    x = torch.ones(2, 3, *shape)
    padded = pad_with_margin(x, 8)
    assert padded.shape == (2, 3, *expected)
    image = padded[..., MARGIN : MARGIN + shape[0], MARGIN : MARGIN + shape[1]]
    assert torch.equal(image, x)
    assert padded.sum() == x.sum()


def test_a_multiple_that_the_margin_does_not_fit():
    with pytest.raises(ValueError, match="multiple of 48"):
        pad_with_margin(torch.ones(1, 4, 4), 48)
