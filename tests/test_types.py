import dataclasses

import numpy as np
import pytest

from celltally.types import DOT_STATES, Dots, Grid, Image, Prediction


def test_an_image_knows_its_axes():
    image = Image(np.zeros((2, 5, 7, 3)), "TYXS", "a.tif")
    assert image.sizes == {"T": 2, "Y": 5, "X": 7, "S": 3}
    assert image.is_rgb
    assert not Image(np.zeros((2, 5)), "YX", "a.tif").is_rgb


def test_axes_that_do_not_fit_the_pixels_are_noticed():
    with pytest.raises(ValueError, match="zip"):
        _ = Image(np.zeros((2, 5, 7)), "YX", "a.tif").sizes


def test_grid_coordinates():
    grid = Grid((4, 5), step=(2.0, 3.0))
    assert grid.to_cells([[-0.5, -0.5], [0.5, 1.0]]).tolist() == [[0, 0], [0.5, 0.5]]
    assert grid.to_image([0.5, 0.5]).tolist() == [[0.5, 1.0]]
    points = np.random.default_rng(0).uniform(-5, 20, (30, 2))
    assert np.allclose(grid.to_image(grid.to_cells(points)), points)
    assert grid.to_cells([]).shape == (0, 2)


def test_new_dots_repeat_scalars_and_draw_ids():
    dots = Dots.new([[1, 2], [3, 4], [5, 6]], t=2, label="mitotic", score=[0.1, 0.2, 0.3])
    assert len(dots) == 3
    assert len(set(dots.id.tolist())) == 3
    assert all(len(i) == 32 for i in dots.id)
    assert dots.t.tolist() == [2, 2, 2]
    assert dots.label.tolist() == ["mitotic"] * 3
    assert dots.state.tolist() == ["proposed"] * 3
    assert dots.score.dtype == np.float32
    assert dots.yx.dtype == np.float64


def test_no_dots():
    dots = Dots.new()
    assert len(dots) == 0
    assert dots.yx.shape == (0, 2)
    assert dots.id.dtype.kind == "U"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (slice(1, None), [3, 5]),
        ([2, 0], [5, 1]),
        ([], []),
        (np.array([True, False, True]), [1, 5]),
        (np.zeros(3, dtype=bool), []),
    ],
    ids=["slice", "indices", "none", "mask", "empty mask"],
)
def test_picking_rows_keeps_columns_together(rows, expected):
    dots = Dots.new([[1, 2], [3, 4], [5, 6]], z=[1, 3, 5])
    picked = dots[rows]
    assert picked.yx[:, 0].tolist() == picked.z.tolist() == expected
    assert picked.id.tolist() == [dots.id[[1, 3, 5].index(z)] for z in expected]


def test_dots_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match="does not fit 2 dots"):
        Dots.new([[1, 2], [3, 4]], t=[1, 2, 3])
    with pytest.raises(ValueError, match="seen"):
        Dots.new([[1, 2]], state="seen")
    for state in DOT_STATES:
        assert Dots.new([[1, 2]], state=state).state[0] == state


def make_prediction(density):
    density = np.asarray(density, dtype=np.float32)
    return Prediction(
        density=density,
        variance=np.ones_like(density),
        grid=Grid(density.shape[1:]),
        image_shape=density.shape[1:],
        diameter_px=12.0,
        model="m",
        model_sha256="0",
    )


def test_the_count_is_the_integral_and_never_below_zero():
    prediction = make_prediction([[[1.5, 2.0], [0.0, -0.5]], [[-3.0, 0.0], [1.0, 0.0]]])
    assert prediction.counts.tolist() == [3.0, 0.0]
    assert prediction.count == 3.0


def test_the_count_of_a_large_map_is_summed_in_float64():
    density = np.full((1, 3000, 3000), 0.1, dtype=np.float32)
    assert make_prediction(density).count == pytest.approx(900_000, rel=1e-7)


def test_records_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Grid((1, 1)).shape = (2, 2)
