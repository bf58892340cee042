from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Points

from celltally._napari import layers, planes
from celltally._napari.colours import STATE_SYMBOLS, class_colours
from celltally._napari.layers import density as density_module
from celltally.errors import UserError
from celltally.types import DOT_STATES, Dots

CELL = np.array([[20.0, 30.0]])


def shown(image, counted_maker, **changes):
    """A model of a viewer with an image, its density and its dots."""
    viewer = ViewerModel()
    layer = viewer.add_layer(image)
    plane = planes.plane_in_view(layer, viewer.dims)
    counted = counted_maker(cells=CELL, **changes)
    density = layers.show_density(viewer, layer, plane, counted.prediction)
    dots = layers.show_dots(viewer, layer, plane, counted.dots(counted.threshold), 10.0)
    return viewer, layer, density, dots


@pytest.fixture
def four_dots(make_counted):
    """A dots layer as we made it, and what is in it."""
    viewer = ViewerModel()
    image = viewer.add_layer(Image(np.zeros((120, 160))))
    found = make_counted().candidates
    plane = planes.plane_in_view(image, viewer.dims)
    return layers.show_dots(viewer, image, plane, found, 10.0), found


@pytest.mark.parametrize(
    "place",
    [
        {},
        {"scale": (0.5, 0.25), "translate": (10.0, -4.0)},
        {"scale": (0.5, 0.5), "rotate": 30.0, "translate": (3.0, 7.0)},
        {"scale": (2.0, 1.0), "shear": [0.2]},
        {"affine": [[0.0, 2.0, 5.0], [-2.0, 0.0, 1.0], [0.0, 0.0, 1.0]]},
    ],
)
def test_dot_and_density_peak_land_on_the_cell(place, make_counted):
    _, image, density, dots = shown(Image(np.zeros((120, 160)), **place), make_counted)
    where = image.data_to_world(CELL[0])
    np.testing.assert_allclose(dots.data_to_world(dots.data[0]), where, atol=0.3)
    # The density's centre of mass, cell centres being whole numbers of its data.
    mass = density.data.astype(float)
    rows, columns = np.mgrid[: mass.shape[0], : mass.shape[1]]
    centre = [(mass * rows).sum() / mass.sum(), (mass * columns).sum() / mass.sum()]
    np.testing.assert_allclose(density.data_to_world(centre), where, atol=0.05)


def test_corners_of_density_and_image_are_the_same(make_counted):
    _, image, density, _ = shown(Image(np.zeros((120, 160)), scale=(0.5, 0.5)), make_counted)
    first, last = [-0.5, -0.5], np.array([60, 80]) - 0.5
    np.testing.assert_allclose(density.data_to_world(first), image.data_to_world([-0.5, -0.5]))
    np.testing.assert_allclose(density.data_to_world(last), image.data_to_world([119.5, 159.5]))


def test_units_are_carried(make_counted):
    image = Image(np.zeros((120, 160)), scale=(0.5, 0.5), units=("um", "um"))
    _, image, density, dots = shown(image, make_counted)
    assert density.units == dots.units == image.units
    assert planes.pixel_size_um(image) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({}, None),
        ({"scale": (0.3, 0.3)}, 0.3),
        ({"scale": (650, 650), "units": ("nm", "nm")}, 0.65),
        ({"scale": (1, 1), "units": ("um", "um")}, 1.0),
        ({"scale": (3, 3), "units": ("s", "s")}, None),
    ],
)
def test_pixel_size(settings, size):
    found = planes.pixel_size_um(Image(np.zeros((4, 4)), **settings))
    assert found == (size if size is None else pytest.approx(size))


def test_a_stack_is_counted_in_the_plane_in_view_and_shown_there(make_counted):
    viewer = ViewerModel()
    data = np.arange(7)[:, None, None] * np.ones((7, 120, 160))
    image = viewer.add_layer(Image(data, scale=(2.0, 1.0, 1.0)))
    viewer.dims.set_current_step(0, 2)
    plane = planes.plane_in_view(image, viewer.dims)
    assert plane.position == (2,)
    assert plane.text == "z 2"
    assert (plane.read() == 2).all()
    counted = make_counted(cells=CELL)
    density = layers.show_density(viewer, image, plane, counted.prediction)
    dots = layers.show_dots(viewer, image, plane, counted.dots(0.5), 10.0)
    assert density.data.shape == (1, 60, 80)
    assert density.data_to_world((0, 0, 0))[0] == image.data_to_world((2, 0, 0))[0]
    assert dots.data[0, 0] == 2


def test_colours_alpha_and_channels():
    viewer = ViewerModel()
    rgba = np.zeros((8, 9, 4), dtype=np.uint8)
    rgba[..., 0], rgba[..., 1], rgba[..., 3] = 3, 7, 255
    image = viewer.add_layer(Image(rgba, rgb=True))
    assert planes.plane_in_view(image, viewer.dims).read().shape == (8, 9, 3)
    green = planes.plane_in_view(image, viewer.dims, "green").read()
    assert (green == 7).all()
    assert [v for _, v in planes.channel_choices(image)] == [None, "red", "green", "blue", "gray"]


def test_a_channel_axis_is_found_and_chosen():
    viewer = ViewerModel()
    data = np.arange(2)[None, :, None, None] * np.ones((3, 2, 8, 9))
    image = viewer.add_layer(Image(data, axis_labels=("t", "c", "y", "x")))
    assert [v for _, v in planes.channel_choices(image)] == [None, 0, 1]
    plane = planes.plane_in_view(image, viewer.dims, 1)
    assert (plane.read() == 1).all()
    assert (plane.index("T"), plane.index("C")) == (plane.position[0], 1)


def test_multiscale_images_are_counted_at_full_resolution():
    viewer = ViewerModel()
    image = viewer.add_layer(Image([np.ones((64, 64)), np.ones((32, 32))], multiscale=True))
    assert planes.plane_in_view(image, viewer.dims).shape == (64, 64)


def test_only_the_plane_is_read(make_plane):
    class Lazy:
        ndim, shape, dtype, reads = 3, (4, 8, 8), np.dtype("u1"), []

        def __getitem__(self, key):
            self.reads.append(key)
            return np.zeros((8, 8), np.uint8)

    lazy = Lazy()
    make_plane(lazy, (1,), "Z").read()
    assert lazy.reads == [(1,)]


def test_a_view_in_3d_and_a_plane_outside_are_told():
    viewer = ViewerModel(ndisplay=3)
    image = viewer.add_layer(Image(np.zeros((6, 8, 8))))
    with pytest.raises(UserError, match="2-D"):
        planes.plane_in_view(image, viewer.dims)
    viewer.dims.ndisplay = 2
    viewer.add_layer(Image(np.zeros((9, 8, 8))))
    viewer.dims.set_current_step(0, 7)
    with pytest.raises(UserError, match="no plane at z 7"):
        planes.plane_in_view(image, viewer.dims)


def test_counting_again_replaces_our_layers_and_touches_no_others(make_counted):
    viewer, image, density, dots = shown(Image(np.zeros((120, 160))), make_counted)
    other = viewer.add_points([[1, 2]], name="mine")
    plane = planes.plane_in_view(image, viewer.dims)
    again = make_counted()
    assert layers.show_density(viewer, image, plane, again.prediction) is density
    assert layers.show_dots(viewer, image, plane, again.dots(again.threshold), 10.0) is dots
    assert len(dots.data) == 4
    assert len(viewer.layers) == 4
    assert len(other.data) == 1
    assert density.data.sum() == pytest.approx(again.prediction.count, rel=1e-5)


@pytest.mark.parametrize("edit", ["add", "move", "delete", "state"])
def test_what_a_human_edits_is_seen(edit, make_counted):
    viewer, image, _, dots = shown(Image(np.zeros((120, 160))), make_counted)
    assert not layers.is_edited(dots)
    if edit == "add":
        dots.add([5, 5])
    elif edit == "move":
        dots.data = dots.data + 1
    elif edit == "delete":
        dots.selected_data = {0}
        dots.remove_selected()
    else:
        features = dots.features.copy()
        features["state"] = "confirmed"
        dots.features = features
    assert layers.is_edited(dots)
    plane = planes.plane_in_view(image, viewer.dims)
    assert layers.show_dots(viewer, image, plane, layers.dots_of(dots), 10.0) is dots
    assert not layers.is_edited(dots)


def test_edits_come_back_as_states(four_dots):
    points, before = four_dots
    np.testing.assert_array_equal(layers.dots_of(points).state, ["proposed"] * 4)
    points.selected_data = {1}
    points.remove_selected()
    moved = np.array(points.data)
    moved[0] += 3
    points.data = moved
    points.add([5.0, 6.0])
    dots = layers.dots_of(points)
    assert dots.state.tolist() == ["moved", "proposed", "proposed", "added", "removed"]
    assert dots.id[[0, 1, 2, 4]].tolist() == before.id[[0, 2, 3, 1]].tolist()
    np.testing.assert_array_equal(dots.yx[0], before.yx[0] + 3)
    np.testing.assert_array_equal(dots.yx[3], [5.0, 6.0])
    np.testing.assert_array_equal(dots.yx[4], before.yx[1])
    np.testing.assert_array_equal(dots.score[[0, 1, 2, 4]], before.score[[0, 2, 3, 1]])
    assert dots.source.tolist() == ["ab" * 32] * 3 + ["", "ab" * 32]  # no model found the added one
    assert np.isnan(dots.score[3])


def test_a_dot_that_is_added_after_another_was_deleted_is_a_new_one(four_dots):
    """napari gives a new point the features of the one that was selected last."""
    points, before = four_dots
    points.selected_data = [0]
    points.remove_selected()
    points.add([5.0, 6.0])
    assert points.features["id"][3] == before.id[0]
    dots = layers.dots_of(points)
    assert dots.state.tolist() == ["proposed"] * 3 + ["added", "removed"]
    assert len(set(dots.id.tolist())) == 5
    assert dots.id[4] == before.id[0]


def test_pasted_dots_are_new_ones(four_dots):
    points, before = four_dots
    points.selected_data = {0, 1}
    points._copy_data()
    points._paste_data()
    dots = layers.dots_of(points)
    assert dots.id[:4].tolist() == before.id.tolist()
    assert dots.state.tolist() == ["proposed"] * 4 + ["added"] * 2
    assert len(set(dots.id.tolist())) == 6
    assert layers.is_edited(points)


def test_a_dot_that_is_added_in_another_plane_belongs_there(make_counted):
    viewer = ViewerModel()
    image = viewer.add_layer(Image(np.zeros((9, 7, 120, 160)), axis_labels=("t", "z", "y", "x")))
    viewer.dims.set_current_step((0, 1), (3, 2))
    plane = planes.plane_in_view(image, viewer.dims)
    found = planes.in_plane(make_counted(cells=CELL).candidates, plane)
    points = layers.show_dots(viewer, image, plane, found, 10.0)
    assert not layers.is_edited(points)
    points.add([8, 5, 10.0, 20.0])
    dots = layers.dots_of(points)
    assert dots.t.tolist() == [3, 8]
    assert dots.z.tolist() == [2, 5]


@pytest.mark.parametrize("state", ["added", "removed"])
def test_what_a_human_did_before_is_not_forgotten_by_moving(state):
    dots = Dots.new([[1, 1], [5, 5]], state=[state, "confirmed"])
    data, settings = layers.points_of_file(dots, "a")
    points = Points(data + 1, **settings)
    assert layers.dots_of(points).state.tolist() == [state, "moved"]


@pytest.mark.parametrize(
    ("labels", "lengths", "letters"),
    [
        ((), (7,), "Z"),
        ((), (4,), "C"),
        ((), (5,), "Z"),
        ((), (12, 7), "TZ"),
        ((), (12, 3), "ZC"),
        (("time", "", "", ""), (12, 3), "TC"),
        (("", "channel", "", ""), (12, 9), "ZC"),
        (("well", "frame", "", ""), (4, 9), ("", "T")),
        ((), (5, 5, 5, 5), ("",) * 4),
    ],
)
def test_axes_are_those_that_a_file_would_have(labels, lengths, letters):
    labels = labels or ("",) * (len(lengths) + 2)
    image = Image(np.zeros((*lengths, 8, 9)), axis_labels=labels)
    assert planes.axis_letters(image) == tuple(letters)


def test_a_leading_axis_of_time_is_no_z():
    viewer = ViewerModel()
    image = viewer.add_layer(Image(np.zeros((12, 7, 8, 9))))
    viewer.dims.set_current_step((0, 1), (11, 6))
    plane = planes.plane_in_view(image, viewer.dims)
    assert plane.text == "t 11, z 6"
    assert (plane.index("T"), plane.index("Z")) == (11, 6)


def test_no_dots_at_all(make_counted):
    viewer = ViewerModel()
    image = viewer.add_layer(Image(np.zeros((120, 160))))
    plane = planes.plane_in_view(image, viewer.dims)
    points = layers.show_dots(viewer, image, plane, Dots.new(), 10.0)
    assert len(points.data) == 0
    points = layers.show_dots(viewer, image, plane, make_counted().candidates, 10.0)
    assert len(points.data) == 4
    points = layers.show_dots(viewer, image, plane, Dots.new(), 10.0)
    assert len(points.data) == 0
    empty = make_counted(density=np.zeros((1, 60, 80), np.float32))
    assert layers.show_density(viewer, image, plane, empty.prediction).data.max() == 0


def test_every_state_has_a_symbol_and_every_class_its_colour():
    assert set(STATE_SYMBOLS) == set(DOT_STATES)
    assert len(set(STATE_SYMBOLS.values())) == len(DOT_STATES)
    assert len(set(class_colours(["cell", "b", "c"]).values())) == 3
    assert class_colours(["b", "cell"])["cell"] == class_colours(["cell"])["cell"]


def test_states_and_classes_are_seen():
    viewer = ViewerModel()
    image = viewer.add_layer(Image(np.zeros((20, 20))))
    plane = planes.plane_in_view(image, viewer.dims)
    dots = Dots.new([[1, 1], [5, 5]], state=["proposed", "removed"], label=["cell", "dead"])
    points = layers.show_dots(viewer, image, plane, dots, 10.0)
    assert [str(s) for s in points.symbol] == ["disc", "x"]
    assert not np.array_equal(points.face_color[0], points.face_color[1])


def test_the_ring_is_as_wide_as_the_cell_and_keeps_its_place():
    viewer = ViewerModel()
    image = viewer.add_layer(Image(np.zeros((120, 160)), scale=(0.5, 0.5)))
    plane = planes.plane_in_view(image, viewer.dims)
    ring = layers.show_ring(viewer, image, plane, 12.0)
    assert isinstance(ring, Points)
    assert "cell diameter" in ring.name
    assert ring.size[0] == 12.0
    np.testing.assert_array_equal(ring.scale, image.scale)
    ring.data = [[33.0, 44.0]]
    assert layers.show_ring(viewer, image, plane, 20.0) is ring
    assert ring.size[0] == 20.0
    np.testing.assert_array_equal(ring.data, [[33.0, 44.0]])


def test_layers_of_two_images_are_kept_apart(make_counted):
    viewer, first, density, _ = shown(Image(np.zeros((120, 160)), name="a"), make_counted)
    second = viewer.add_layer(Image(np.zeros((120, 160)), name="b"))
    plane = planes.plane_in_view(second, viewer.dims)
    other = layers.show_density(viewer, second, plane, make_counted().prediction)
    assert other is not density
    assert layers.density_layer(viewer.layers, planes.key_of(first)) is density
    assert other.name == "b density"


def test_the_colours_of_a_large_density_come_from_a_sample(monkeypatch):
    density = np.random.default_rng(0).random((300, 500), dtype=np.float32)
    whole = density_module.top_of(density)
    assert whole == pytest.approx(float(np.percentile(density[density > 1e-4], 98)))
    seen = []
    real = np.percentile
    monkeypatch.setattr(np, "percentile", lambda a, q: seen.append(a.size) or real(a, q))
    monkeypatch.setattr(density_module, "MOST_CELLS", 10_000)
    assert density_module.top_of(density) == pytest.approx(whole, rel=0.02)
    assert 5_000 < seen[0] <= 10_000
