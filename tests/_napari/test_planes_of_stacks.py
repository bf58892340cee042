"""Counting over time and z in the window: every way, its result, its curve, its corrections."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt

from celltally._napari import count_runner, counting, saving, savings
from celltally._napari.layers import density_layer, dots_layer, kept, set_regions, show_regions
from celltally._napari.planes import key_of
from celltally._napari.results import NOT_KEPT
from celltally._napari.scope import IN_VIEW, Scope, choices
from celltally.batch.table import read_counts
from celltally.project import images
from celltally.project.counts import latest_counts
from celltally.project.store import Store
from celltally.project.work import load_dots
from celltally.types import Progress, Region

pytestmark = pytest.mark.gui

T, Z, SHAPE = 4, 3, (120, 160)
#: Cells of every time point; the first n are there at time n.
PLACES = np.array([[20.0, 30.0], [50.0, 80.0], [90.0, 40.0], [100.0, 130.0]])
#: The z in which each is brightest.
DEPTH = (0, 1, 2, 1)
WHOLE = np.array([(-0.5, -0.5), (-0.5, 159.5), (119.5, 159.5), (119.5, -0.5)])


class FilmCounter:
    """Stands in for the net: at time t there are t + 1 cells, in every z."""

    def __init__(self, make):
        self.make, self.calls, self.steps, self.gate = make, [], 2, None
        self.bad = set()

    def __call__(self, plane, model, diameter_px, name):
        self.calls.append(plane)
        for i in range(self.steps):
            yield Progress(i, self.steps, "Counting")
        while self.gate is not None and not self.gate(self):
            yield Progress(0, 0, "Counting")
        if plane.index("T") in self.bad:
            raise OSError("broken plane")
        plane.read()
        n = plane.index("T") + 1
        found = self.make(
            plane.shape, PLACES[:n], diameter_px, image=name, calibration_sha256="cc" * 32
        )
        return counting.with_dots(found, plane)


@pytest.fixture
def film():
    pixels = np.zeros((T, Z, *SHAPE), dtype=np.uint16)
    for (y, x), z in zip(PLACES.astype(int), DEPTH, strict=True):
        pixels[:, z, y - 4 : y + 5, x - 4 : x + 5] = 1000
    return pixels


@pytest.fixture
def tally(tally, counter, monkeypatch, fake_prediction):
    tally.counter = FilmCounter(fake_prediction)
    monkeypatch.setattr(counting, "count_job", tally.counter)
    return tally


@pytest.fixture
def opened(tally, viewer, film, qtbot):
    viewer.add_image(film, name="film", axis_labels=("t", "z", "y", "x"))
    qtbot.waitUntil(lambda: tally.problem() is None)
    return tally


@pytest.fixture
def count(qtbot, press):
    """Counts as chosen by its words in the row *Planes*, and waits until all is shown."""

    def count(tally, words):
        row = tally.image.planes_box.findText(words)
        assert row >= 0, words
        tally.image.planes_box.setCurrentIndex(row)
        press(tally)
        settle(tally, qtbot)

    return count


def settle(tally, qtbot):
    qtbot.waitUntil(lambda: not tally.saving.busy, timeout=10_000)
    qtbot.waitUntil(lambda: tally.display.settled)
    qtbot.waitUntil(lambda: tally.regions.settled and not tally.correcting.waits)


def look(tally, qtbot, t, z=None):
    """Move the sliders, and wait until the plane's count is shown."""
    tally.viewer.dims.set_current_step(0, t)
    if z is not None:
        tally.viewer.dims.set_current_step(1, z)
    qtbot.waitUntil(lambda: tally.in_view.result is not None)
    settle(tally, qtbot)


def work_of(tally):
    return tally.correcting.work(key_of(tally.image.layer))


def curve(tally):
    return [(point.t, round(point.count)) for point in tally.result.points]


# ---- what can be chosen ----


def test_a_plain_image_has_no_choice(tally, viewer, qtbot):
    viewer.add_image(np.zeros(SHAPE), name="plain")
    assert not tally.image.planes_row.isVisibleTo(tally)
    assert tally.image.scope == IN_VIEW
    assert len(choices((), ())) == 1


def test_the_choices_are_those_of_the_axes(opened, viewer):
    box = opened.image.planes_box
    assert opened.image.planes_row.isVisibleTo(opened)
    assert [box.itemText(i) for i in range(box.count())] == [
        "the plane in view",
        "every time point",
        "projection over z",
        "all z planes, merged",
        "every time, projection",
        "every time, z merged",
    ]
    assert all(box.itemData(i, 3) for i in range(box.count()))
    viewer.add_image(np.zeros((3, *SHAPE)), name="stack", axis_labels=("z", "y", "x"))
    assert [box.itemText(i) for i in range(box.count())] == [
        "the plane in view", "projection over z", "all z planes, merged",
    ]  # fmt: skip
    assert [c.words for c in choices(("T", "Z"), (5, 1))] == [
        "the plane in view", "every time point",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("scope", "number", "words"),
    [
        (Scope(every_t=True), 2, "time point 3 of 4"),
        (Scope(z_method="merged"), 1, "plane 2 of 3"),
        (Scope(True, "merged"), 4, "time point 2 of 4, plane 2 of 3"),
        (Scope(True, "projection"), 0, "time point 1 of 4"),
    ],
)
def test_progress_says_which_plane_is_counted(scope, number, words, make_plane):
    plane = make_plane(np.zeros((T, Z, *SHAPE)), (0, 0), "TZ")
    assert scope.place(number, plane) == words


# ---- every way to count ----


def test_only_the_plane_in_view_without_a_choice(opened, count, viewer, qtbot):
    look_at = viewer.dims
    look_at.set_current_step(0, 2)
    count(opened, "the plane in view")
    assert [(p.position, p.z_method) for p in opened.counter.calls] == [((2, 1), "plane")]
    assert opened.result.count_label.text() == "3 cells"
    assert opened.result.points == ()


def test_every_time_point(opened, count, viewer, qtbot):
    viewer.dims.set_current_step(0, 1)
    viewer.dims.set_current_step(1, 2)
    count(opened, "every time point")
    assert [p.position for p in opened.counter.calls] == [(t, 2) for t in range(T)]
    assert opened.result.count_label.text() == "2 cells"
    assert curve(opened) == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert opened.result.curve.isVisibleTo(opened)
    assert opened.result.curve.now == 1
    dots = work_of(opened).dots
    assert sorted(dots.t.tolist()) == [0, 1, 1, 2, 2, 2, 3, 3, 3, 3]
    assert set(dots.z.tolist()) == {2}
    assert all(point.bounded for point in opened.result.points)


def test_the_sliders_show_the_result_of_each_time_point(opened, count, qtbot, viewer):
    count(opened, "every time point")
    for t in (3, 0, 2):
        look(opened, qtbot, t)
        assert opened.result.count_label.text() == f"{t + 1} cell{'s' * (t > 0)}"
        assert opened.result.n_dots == t + 1
        assert opened.result.curve.now == t
        density = density_layer(viewer.layers, key_of(opened.image.layer))
        assert kept(density, "counted").plane.position[0] == t
    z = viewer.dims.current_step[1]
    viewer.dims.set_current_step(1, (z + 1) % Z)
    assert opened.in_view.result is None
    assert opened.result.empty.text() == "t 2, z 2 is not counted."


def test_projection_puts_dots_where_they_are_brightest(opened, count, qtbot, viewer):
    viewer.dims.set_current_step(0, 3)
    count(opened, "projection over z")
    (plane,) = opened.counter.calls
    assert plane.z_method == "projection"
    assert plane.read().max() == 1000
    dots = work_of(opened).dots
    found = {tuple(np.rint(yx).astype(int)): z for yx, z in zip(dots.yx, dots.z, strict=True)}
    near = {(round(y), round(x)): z for (y, x), z in zip(PLACES, DEPTH, strict=True)}
    assert sorted(found.values()) == sorted(near.values())
    assert opened.result.count_label.text() == "4 cells"
    assert "projection over z" in opened.result.origin_label.text()
    density = density_layer(viewer.layers, key_of(opened.image.layer))
    for z in range(Z):  # it is seen, and the result holds, at every z
        viewer.dims.set_current_step(1, z)
        assert opened.result.count_label.text() == "4 cells"
        assert opened.result.n_dots == 4
        assert density.get_value([3, z, *PLACES[0]], world=True) > 0.01
    viewer.dims.set_current_step(0, 2)
    assert density.get_value([2, 0, *PLACES[0]], world=True) is None
    assert len(opened.counter.calls) == 1


def test_merged_planes_count_each_cell_once(opened, count, qtbot, viewer):
    viewer.dims.set_current_step(0, 3)
    count(opened, "all z planes, merged")
    assert [p.position for p in opened.counter.calls] == [(3, z) for z in range(Z)]
    assert len(work_of(opened).dots) == 12
    assert opened.result.count_label.text() == "4 cells"
    assert opened.result.interval_label.text() == "no interval"
    assert "calibration is of densities of single planes" in opened.result.kind_label.text()
    assert opened.result.correction_label.text() == "merged from 12 dots in 3 planes"
    assert opened.result.n_dots == 4
    look(opened, qtbot, 3, 0)
    assert opened.result.count_label.text() == "4 cells"
    # One of a cell's dots less is still the cell; all of them less are none.
    key, dots = key_of(opened.image.layer), work_of(opened).dots
    at = np.flatnonzero(np.hypot(*(dots.yx - PLACES[0]).T) < 5)
    assert len(at) == 3
    opened.correcting.remove(key, at[:1])
    qtbot.waitUntil(lambda: "11 dots" in opened.result.correction_label.text())
    assert opened.result.count_label.text() == "4 cells"
    opened.correcting.remove(key, at[1:])
    qtbot.waitUntil(lambda: opened.result.count_label.text() == "3 cells")


def test_every_time_point_by_projection(opened, count, qtbot):
    count(opened, "every time, projection")
    assert [(p.index("T"), p.z_method) for p in opened.counter.calls] == [
        (t, "projection") for t in range(T)
    ]
    assert curve(opened) == [(0, 1), (1, 2), (2, 3), (3, 4)]
    look(opened, qtbot, 2, 0)
    assert opened.result.count_label.text() == "3 cells"
    assert opened.result.n_dots == 3


def test_every_time_point_merged(opened, count, qtbot):
    count(opened, "every time, z merged")
    assert len(opened.counter.calls) == T * Z
    assert curve(opened) == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert not any(point.bounded for point in opened.result.points)
    look(opened, qtbot, 2, 2)
    assert opened.result.count_label.text() == "3 cells"
    assert opened.result.correction_label.text() == "merged from 9 dots in 3 planes"


def test_the_diameter_that_is_set_holds_for_all(opened, count, monkeypatch):
    asked = []
    real = opened.counter

    def counted(plane, model, diameter_px, name):
        asked.append(diameter_px)
        return (yield from real(plane, model, diameter_px, name))

    monkeypatch.setattr(counting, "count_job", counted)
    opened.image.diameter_edit.setValue(12.5)
    count(opened, "every time point")
    assert asked == [12.5] * T


def test_a_later_way_to_count_takes_the_earlier_ones_place(opened, count, qtbot, viewer):
    viewer.dims.set_current_step(0, 3)
    count(opened, "projection over z")
    count(opened, "the plane in view")
    dots = work_of(opened).dots
    assert set(dots.z.tolist()) == {1}  # none of the projection's is left in other planes
    assert len(dots) == 4
    viewer.dims.set_current_step(1, 0)
    assert opened.in_view.result is None
    count(opened, "projection over z")
    assert sorted(work_of(opened).dots.z.tolist()) == sorted(DEPTH)
    count(opened, "all z planes, merged")
    assert len(work_of(opened).dots) == 12
    count(opened, "the plane in view")
    assert set(work_of(opened).dots.z.tolist()) == {0}


# ---- cancel, failure, memory ----


def test_cancel_half_way_keeps_what_was_counted(opened, qtbot, start, viewer, click):
    opened.counter.gate = lambda counter: len(counter.calls) <= 2
    opened.image.planes_box.setCurrentText("every time point")
    start(opened)
    qtbot.waitUntil(lambda: len(opened.counter.calls) == 3)
    qtbot.waitUntil(lambda: "ime point 3 of 4" in opened.count_section.bar.format())
    click(opened.count_section.cancel_button)
    qtbot.waitUntil(lambda: not opened.running)
    settle(opened, qtbot)
    assert opened.count_section.message.text() == (
        "Cancelled: 2 time points of 4 are counted, and kept."
    )
    assert curve(opened) == [(0, 1), (1, 2)]
    assert sorted(work_of(opened).dots.t.tolist()) == [0, 1, 1]
    assert "2 of 4 time points are counted" in opened.result.curve_label.text()
    look(opened, qtbot, 1)
    assert opened.result.count_label.text() == "2 cells"
    assert [(c.t, c.count) for c in latest_counts(opened.saving.store)] == [
        (0, pytest.approx(1, abs=1e-4)), (1, pytest.approx(2, abs=1e-4)),
    ]  # fmt: skip


def test_cancelled_merging_says_that_planes_are_missing(opened, qtbot, start, viewer, click):
    opened.counter.gate = lambda counter: len(counter.calls) <= 2
    viewer.dims.set_current_step(1, 0)
    opened.image.planes_box.setCurrentText("all z planes, merged")
    start(opened)
    qtbot.waitUntil(lambda: len(opened.counter.calls) == 3)
    click(opened.count_section.cancel_button)
    qtbot.waitUntil(lambda: not opened.running)
    settle(opened, qtbot)
    assert "2 of 3 planes; the others are not counted" in opened.result.correction_label.text()


def test_a_time_point_that_cannot_be_counted_is_told_and_the_others_are(opened, count):
    opened.counter.bad = {1}
    count(opened, "every time point")
    assert curve(opened) == [(0, 1), (2, 3), (3, 4)]
    words = opened.count_section.message.text()
    assert words.startswith("1 time point could not be counted; time point 2 of 4:")


def test_where_none_can_be_counted_it_is_an_error(opened, count, monkeypatch):
    from celltally._napari import tally as module

    told = []
    monkeypatch.setattr(module, "show_error", told.append)
    opened.counter.bad = set(range(T))
    count(opened, "every time point")
    assert len(told) == 1
    assert opened.result.points == ()


def test_only_the_plane_in_view_stays_in_memory(opened, count, qtbot):
    key = key_of(opened.image.layer)
    count(opened, "every time point")
    assert opened._results.loaded(key) == 1
    for t in range(T):
        look(opened, qtbot, t)
    assert opened._results.loaded(key) <= 3


def test_counting_waits_for_what_is_to_be_saved(opened, qtbot, start, monkeypatch):
    """Maps of planes do not pile up while the disk is slow."""
    gate, adding = threading.Event(), []
    real = saving.add_count

    def slow(*args):
        adding.append(args)
        gate.wait(10)
        return real(*args)

    monkeypatch.setattr(saving, "add_count", slow)
    opened.image.planes_box.setCurrentText("every time, z merged")
    start(opened)
    qtbot.waitUntil(lambda: len(adding) == 1)
    qtbot.wait(300)
    # Two wait, a third is counted and waits for room.
    assert len(opened.counter.calls) == count_runner.MOST_WAITING + 1
    gate.set()
    qtbot.waitUntil(lambda: not opened.running, timeout=10_000)
    settle(opened, qtbot)
    assert len(adding) == T * Z


# ---- the curve ----


def test_a_click_on_the_curve_moves_the_slider(opened, count, qtbot, viewer):
    count(opened, "every time point")
    view = opened.result.curve
    view.resize(300, view.height())
    for t in (3, 0, 2):
        at = QPoint(round(view.x_of(t)), view.height() // 2)
        qtbot.mouseClick(view, Qt.MouseButton.LeftButton, pos=at)
        assert viewer.dims.current_step[0] == t
    assert viewer.dims.current_step[1] == 1  # z stays


def test_the_curve_shows_what_was_reviewed(opened, count, qtbot, viewer):
    count(opened, "every time point")
    key, layer = key_of(opened.image.layer), opened.image.layer
    look(opened, qtbot, 2)
    opened.correcting.add(key, [[60.0, 20.0]])
    shapes = show_regions(viewer, layer, opened.image.plane())
    set_regions(shapes, opened.image.plane(), [Region(WHOLE, "reviewed")])
    qtbot.waitUntil(lambda: opened.result.count_label.text() == "4 cells", timeout=5_000)
    look(opened, qtbot, 0)
    qtbot.waitUntil(lambda: curve(opened) == [(0, 1), (1, 2), (2, 4), (3, 4)])
    point = opened.result.points[2]
    assert point.correction == "dots in 1 reviewed region"
    assert (point.interval.low, point.interval.high, point.interval.kind) == (4, 4, "exact")
    assert "Squares: corrected." in opened.result.curve_label.text()


def test_another_level_moves_the_band(opened, count, qtbot):
    count(opened, "every time point")
    wide = opened.result.points
    opened.result.level_box.setCurrentIndex(0)
    settle(opened, qtbot)
    qtbot.waitUntil(lambda: all(p.bounded for p in opened.result.points))
    for before, after in zip(wide, opened.result.points, strict=True):
        assert after.interval.level == 0.5
        assert after.interval.high < before.interval.high


@pytest.mark.parametrize("dark", [True, False])
def test_the_curve_is_drawn_with_numbers_on_its_axes(opened, count, qtbot, dark):
    from qtpy.QtGui import QColor, QPalette

    count(opened, "every time point")
    view = opened.result.curve
    view.resize(300, view.height())
    palette = view.palette()
    text, ground = QColor("#f0f1f2"), QColor("#262930")
    palette.setColor(QPalette.ColorRole.WindowText, text if dark else ground)
    view.setPalette(palette)
    picture = view.grab().toImage()
    colours = {picture.pixelColor(x, y).name() for x in range(300) for y in range(view.height())}
    assert len(colours) > 20
    assert view.words_at(2).startswith("t 2: 3 cells, 95")


# ---- out of napari ----


def test_save_count_writes_a_row_a_time_point(opened, count, qtbot, tmp_path):
    count(opened, "every time, projection")
    path = tmp_path / "counts.csv"
    opened.save_counts(str(path))
    qtbot.waitUntil(path.exists)
    rows = read_counts(path)
    assert [(row["t"], row["z"], row["n_dots"]) for row in rows] == [
        (str(t), "max", str(t + 1)) for t in range(T)
    ]
    assert [round(float(row["count"])) for row in rows] == [1, 2, 3, 4]
    assert all(float(row["ci_high"]) > float(row["ci_low"]) for row in rows)
    lines = opened.result.copied().splitlines()
    assert [line.split("\t")[:2] for line in lines] == [
        ["0", "1"],
        ["1", "2"],
        ["2", "3"],
        ["3", "4"],
    ]


def test_save_count_of_merged_planes_says_so(opened, count, qtbot, tmp_path, viewer):
    viewer.dims.set_current_step(0, 2)
    count(opened, "all z planes, merged")
    path = tmp_path / "counts.csv"
    opened.save_counts(str(path))
    qtbot.waitUntil(path.exists)
    (row,) = read_counts(path)
    assert (row["t"], row["z"], row["count"], row["n_dots"]) == ("2", "merged", "3.0000", "3")
    assert (row["ci_low"], row["ci_high"], row["interval_kind"]) == ("", "", "not calibrated")
    assert "merged from 9 dots in 3 planes" in row["message"]


# ---- correcting ----


def test_dots_are_corrected_in_two_planes_each_by_itself(opened, count, qtbot, viewer):
    count(opened, "every time point")
    key = key_of(opened.image.layer)
    look(opened, qtbot, 1)
    opened.correcting.add(key, [[60.0, 20.0]])
    look(opened, qtbot, 3)
    opened.correcting.add(key, [[60.0, 120.0], [10.0, 120.0]])
    settle(opened, qtbot)
    assert "you +2 −0" in opened.correct.live_label.text()
    assert opened.result.n_dots == 6
    look(opened, qtbot, 1)
    qtbot.waitUntil(lambda: "you +1 −0" in opened.correct.live_label.text())
    assert opened.result.n_dots == 3
    work = work_of(opened)
    added = work.dots[work.dots.state == "added"]
    assert sorted(zip(added.t.tolist(), added.z.tolist(), strict=True)) == [(1, 1), (3, 1), (3, 1)]


def test_a_projections_dots_are_corrected_in_their_planes(opened, count, qtbot, viewer):
    viewer.dims.set_current_step(0, 3)
    count(opened, "projection over z")
    key = key_of(opened.image.layer)
    look(opened, qtbot, 3, 2)
    opened.correcting.add(key, [[60.0, 20.0]])
    settle(opened, qtbot)
    added = work_of(opened).dots[work_of(opened).dots.state == "added"]
    assert (added.t.tolist(), added.z.tolist()) == ([3], [2])
    look(opened, qtbot, 3, 0)  # the line is that of the whole stack
    qtbot.waitUntil(lambda: "you +1 −0" in opened.correct.live_label.text())
    assert opened.result.n_dots == 5


def test_regions_of_a_projection_hold_whichever_z_they_were_drawn_in(opened, count, qtbot, viewer):
    viewer.dims.set_current_step(0, 3)
    count(opened, "projection over z")
    look(opened, qtbot, 3, 2)
    shapes = show_regions(viewer, opened.image.layer, opened.image.plane())
    left = WHOLE * (1, 0.375)  # the two cells on the left
    set_regions(shapes, opened.image.plane(), [Region(left, "exclude")])
    qtbot.waitUntil(lambda: opened.result.count_label.text() == "2 cells", timeout=5_000)
    look(opened, qtbot, 3, 0)
    assert opened.result.count_label.text() == "2 cells"


def test_counting_again_proposes_only(opened, count, qtbot):
    count(opened, "every time point")
    key = key_of(opened.image.layer)
    look(opened, qtbot, 1)
    opened.correcting.add(key, [[60.0, 20.0]])
    look(opened, qtbot, 3)
    layer = dots_layer(opened.viewer.layers, key)
    written = kept(layer, "written")
    opened.correcting.remove(key, np.flatnonzero(written.t == 3)[:1])
    settle(opened, qtbot)
    before = work_of(opened).dots
    hand = before[before.state != "proposed"]
    count(opened, "every time point")
    after = work_of(opened).dots
    assert set(hand.id) <= set(after.id)
    assert after[np.isin(after.id, hand.id)].state.tolist() == hand.state.tolist()
    words = opened.count_section.message.text()
    assert words == (
        "Dots: 0 new, 0 gone, 1 left out beside your edits. "
        "The 2 dots that you edited are as they were."
    )


def test_counting_again_without_edits_says_nothing(opened, count):
    count(opened, "every time point")
    count(opened, "every time point")
    assert opened.count_section.message.text() == ""
    assert len(work_of(opened).dots) == 10


# ---- the project ----


def test_it_is_all_there_after_a_restart(opened, count, qtbot, viewer, film, open_tally, request):
    count(opened, "every time, projection")
    key = key_of(opened.image.layer)
    opened.correcting.add(key, [[60.0, 20.0]])
    settle(opened, qtbot)
    calls = len(opened.counter.calls)
    path = opened.saving.store.path
    for layer in list(viewer.layers):
        viewer.layers.remove(layer)
    viewer.add_image(film, name="film", axis_labels=("t", "z", "y", "x"))
    qtbot.waitUntil(lambda: opened.in_view.result is not None, timeout=5_000)
    settle(opened, qtbot)
    assert curve(opened) == [(0, 1), (1, 2), (2, 3), (3, 4)]
    look(opened, qtbot, 3, 0)
    assert opened.result.count_label.text() == "4 cells"
    assert opened.in_view.result.counted.plane.z_method == "projection"
    assert len(opened.counter.calls) == calls
    savings.close_all()
    with Store(path, read_only=True) as store:
        (entry,) = images.all_images(store)
        stored = [(c.t, c.z, c.z_method) for c in latest_counts(store)]
        assert stored == [(t, 0, "projection") for t in range(T)]
        assert len(load_dots(store, entry.id)) == 11


def test_merged_counts_come_back(opened, count, qtbot, viewer, film):
    count(opened, "every time, z merged")
    for layer in list(viewer.layers):
        viewer.layers.remove(layer)
    viewer.add_image(film, name="film", axis_labels=("t", "z", "y", "x"))
    look(opened, qtbot, 2, 0)
    assert opened.result.count_label.text() == "3 cells"
    assert curve(opened) == [(0, 1), (1, 2), (2, 3), (3, 4)]


def test_dots_that_were_not_proposed_before_the_end_are_when_it_is_opened(
    opened, count, qtbot, viewer, film, monkeypatch
):
    """As after a crash between keeping a plane and proposing its dots."""
    opened.runner._propose_soon.setInterval(1_000_000)
    with monkeypatch.context() as cut_off:
        cut_off.setattr(opened.runner, "_propose_pending", lambda most: False)
        cut_off.setattr(opened.display, "_propose_missing", lambda *_: None)
        count(opened, "every time point")
        assert work_of(opened) is None
    for layer in list(viewer.layers):
        viewer.layers.remove(layer)
    viewer.add_image(film, name="film", axis_labels=("t", "z", "y", "x"))
    look(opened, qtbot, 2)
    assert opened.result.n_dots == 3
    assert set(work_of(opened).dots.t.tolist()) >= {2}


def test_a_read_only_project_shows_the_curve_and_says_what_is_not_kept(
    opened, count, qtbot, tmp_path, viewer
):
    path = tmp_path / "study.celltally"
    with Store(path):
        pass
    opened.saving.open(path, read_only=True)
    qtbot.waitUntil(lambda: opened.saving.read_only and not opened.saving.busy)
    count(opened, "every time point")
    assert curve(opened) == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert opened.result.count_label.text() == "2 cells"
    viewer.dims.set_current_step(0, 3)
    assert "open for reading only" in opened.result.empty.text()
    assert opened._results.stored(key_of(opened.image.layer), opened.image.plane()).id == NOT_KEPT


# ---- explaining ----


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("projection over z", "The projection is explained"),
        ("all z planes, merged", "The count of this plane is explained"),
    ],
)
def test_explain_says_what_it_explains(opened, count, viewer, qtbot, words, told):
    from celltally._napari.layers.pointed import place_in
    from celltally._napari.subject_section import SubjectSection

    viewer.dims.set_current_step(0, 3)
    count(opened, words)
    section = SubjectSection(viewer)
    qtbot.addWidget(section)
    assert told in section.words.text()
    counted, layer = section.subject.counted, opened.image.layer
    assert counted is opened.in_view.result.counted
    assert counted.plane.read().shape == SHAPE
    # A click in another z is one in the projection, and none in the plane that is explained.
    z = (counted.plane.index("Z") + 1) % Z
    place = place_in(layer, counted.plane, (3, z, 20.0, 30.0))
    assert place == ((20.0, 30.0) if words.startswith("projection") else None)
    section.disconnect_viewer()
