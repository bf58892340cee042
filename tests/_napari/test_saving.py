"""What a window saves is on the disk, in order, and nothing of it is lost."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from napari.layers import Image
from napari.layers._source import layer_source

from celltally import intervals
from celltally._napari import counting
from celltally._napari.jobs import InOrder
from celltally._napari.planes import key_of, plane_at
from celltally._napari.saving import Saving
from celltally.errors import TryAgainError, UserError
from celltally.project import images, work
from celltally.project.counts import latest_counts
from celltally.project.edits import Edit, Work, diff_dots
from celltally.project.store import Store
from celltally.types import Dots

pytestmark = pytest.mark.gui


@pytest.fixture
def line(qtbot):
    line = InOrder()
    yield line
    line.finish()


@pytest.fixture
def saving(qtbot):
    saving = Saving()
    yield saving
    saving.close()


@pytest.fixture
def until(qtbot, saving):
    """Waits until all is saved and told."""

    def until():
        qtbot.waitUntil(lambda: saving.line.idle and not saving.busy)

    return until


def layer_of(path=None, name="cells"):
    pixels = np.random.default_rng(0).integers(0, 500, (120, 160)).astype(np.uint16)
    if path is None:
        return Image(pixels, name=name)
    if not path.exists():
        tifffile.imwrite(path, pixels)
    with layer_source(path=str(path)):
        return Image(pixels, name=name)


def added(*places):
    return Edit("add", diff_dots(Dots.new(), Dots.new(places, state="added", source="me")))


# ---- in order ----


def test_things_are_done_in_their_order_on_one_other_thread(qtbot, line):
    heard, threads = [], set()

    def work(i):
        threads.add(threading.get_ident())
        return i

    for i in range(50):
        line.do(lambda i=i: work(i), on_done=heard.append)
    qtbot.waitUntil(lambda: len(heard) == 50)
    assert heard == list(range(50))
    assert len(threads) == 1
    assert threads != {threading.get_ident()}


def test_what_must_be_done_waits_for_its_turn_to_succeed(qtbot, line):
    heard, full = [], [True]

    def save(what):
        if full[0]:
            raise TryAgainError("the disk is full")
        return what

    for what in ("first", "second"):
        line.do(
            lambda what=what: save(what),
            on_done=heard.append,
            on_failed=lambda error: heard.append(str(error)),
            must=True,
        )
    qtbot.waitUntil(lambda: line.stuck and bool(heard))
    assert heard == ["the disk is full"]
    full[0] = False
    line.try_again()
    qtbot.waitUntil(lambda: line.idle and len(heard) == 3)
    assert heard[1:] == ["first", "second"]


def test_what_can_never_be_done_is_told_and_holds_nothing_up(qtbot, line):
    heard = []

    def save():
        raise UserError("that contradicts what is in it")

    line.do(save, on_failed=lambda error: heard.append(str(error)), must=True)
    line.do(lambda: "next", on_done=heard.append, must=True)
    qtbot.waitUntil(lambda: len(heard) == 2)
    assert heard == ["that contradicts what is in it", "next"]


def test_what_need_not_be_done_holds_nothing_up(qtbot, line):
    heard = []

    def look():
        raise UserError("no such image")

    line.do(look, on_failed=lambda error: heard.append(str(error)))
    line.do(lambda: "next", on_done=heard.append)
    qtbot.waitUntil(lambda: len(heard) == 2)
    assert heard == ["no such image", "next"]


def test_the_end_waits_for_all_that_is_left(qtbot):
    line, done = InOrder(), []
    gate = threading.Event()
    line.do(lambda: gate.wait(5))
    for i in range(20):
        line.do(lambda i=i: done.append(i), must=True)
    gate.set()
    line.finish()
    assert done == list(range(20))


# ---- saving ----


def test_without_a_choice_there_is_a_project_of_ones_own(saving, until, tmp_path):
    saving.keep_edit(layer_of(), added((1, 2)))
    until()
    assert saving.name == "My counts"
    assert saving.mark.startswith("Saved ")
    place = saving.store.path
    saving.close()
    with Store(place, read_only=True) as store:
        (entry,) = images.all_images(store)
        assert entry.name == "cells"
        assert entry.shape == (120, 160)
        assert work.load_dots(store, entry.id).yx.tolist() == [[1, 2]]


def test_another_program_has_the_unnamed_project_so_a_second_one_is_made(saving, until, tmp_path):
    from celltally._napari.unnamed import projects_dir

    projects_dir().mkdir(parents=True)
    with Store(projects_dir() / "My counts.celltally"):
        saving.keep_edit(layer_of(), added((1, 2)))
        until()
    assert saving.name == "My counts 2"


def test_an_image_comes_back_as_it_was_left(qtbot, saving, until, tmp_path, fake_prediction):
    layer = layer_of(tmp_path / "cells.tif")
    plane = plane_at(layer, ())
    counted = counting.with_dots(fake_prediction(), plane)
    interval = intervals.of(counted.prediction)
    known = Work()
    saving.keep_count(layer, counted, interval, unlike=False)
    for place in ((1, 2), (3, 4)):
        saving.keep_edit(layer, known.do(added(place)))
    saving.keep_edit(layer, known.undo())
    until()
    saving.close()

    again, heard = Saving(), []
    other = layer_of(tmp_path / "cells.tif")
    again.restore(other, heard.append)
    qtbot.waitUntil(lambda: bool(heard))
    restored = heard[0]
    assert restored.work.dots.yx.tolist() == [[1, 2]]
    assert restored.work.redoable is not None
    (count,) = restored.counts
    assert count.count == pytest.approx(counted.prediction.count)
    assert (count.interval.low, count.interval.high) == (interval.low, interval.high)
    loaded = []
    again.load(count, loaded.append)
    qtbot.waitUntil(lambda: bool(loaded))
    found, candidates = loaded[0]
    assert found.count == pytest.approx(counted.prediction.count, abs=1e-4)
    assert candidates.id.tolist() == counted.candidates.id.tolist()
    again.close()


def test_an_image_that_was_only_looked_at_is_not_in_the_project(qtbot, saving, until):
    heard = []
    saving.restore(layer_of(), heard.append)
    qtbot.waitUntil(lambda: bool(heard))
    assert heard == [None]
    assert images.all_images(saving.store) == []


def test_a_moved_file_is_known_again(qtbot, saving, until, tmp_path):
    path = tmp_path / "cells.tif"
    layer = layer_of(path)
    saving.keep_edit(layer, added((1, 2)))
    until()
    saving.forget(key_of(layer))  # it is closed
    path.rename(tmp_path / "renamed.tif")
    heard = []
    saving.restore(layer_of(tmp_path / "renamed.tif", "renamed"), heard.append)
    qtbot.waitUntil(lambda: bool(heard))
    assert len(heard[0].work.dots) == 1


def test_an_image_whose_file_is_gone_is_kept_by_its_pixels(saving, until, tmp_path):
    layer = layer_of(tmp_path / "cells.tif")
    edit = added((1, 2))
    (tmp_path / "cells.tif").rename(tmp_path / "away.tif")
    saving.keep_edit(layer, edit)
    until()
    assert not saving.trouble
    (entry,) = images.all_images(saving.store)
    assert (entry.path, entry.name) == (None, "cells.tif")
    assert entry.pixel_sha256
    assert len(work.load_dots(saving.store, entry.id)) == 1


def test_layers_of_one_file_are_images_of_their_own(saving, until, tmp_path):
    path = tmp_path / "two.tif"
    saving.keep_edit(layer_of(path, "DAPI"), added((1, 2)))
    saving.keep_edit(layer_of(path, "GFP"), added((3, 4)))
    until()
    scenes = [entry.scene for entry in images.all_images(saving.store)]
    assert scenes == ["DAPI", "GFP"]


def test_merged_planes_are_kept_with_those_that_they_are_merged_with(
    qtbot, saving, until, make_counted
):
    layer = Image(np.zeros((4, 120, 160)), name="stack", axis_labels=("z", "y", "x"))
    made = make_counted()
    for z in range(4):
        plane = replace(made.plane, position=(z,), z_method="merged")
        saving.keep_count(
            layer, replace(made, plane=plane), intervals.of(made.prediction), unlike=None
        )
    until()
    assert [c.merged for c in latest_counts(saving.store)] == [(0, 1, 2, 3)] * 4


def test_what_a_later_count_took_the_place_of_does_not_come_back(
    qtbot, saving, until, make_counted
):
    layer = Image(np.zeros((4, 120, 160)), name="stack", axis_labels=("z", "y", "x"))
    made = make_counted()
    for z_method in ("plane", "projection"):
        plane = replace(made.plane, z_method=z_method)
        saving.keep_count(
            layer, replace(made, plane=plane), intervals.of(made.prediction), unlike=None
        )
    until()
    heard = []
    saving.restore(layer, heard.append)
    qtbot.waitUntil(lambda: bool(heard))
    assert [count.z_method for count in heard[0].counts] == ["projection"]


def test_the_same_pixels_in_two_open_layers_have_dots_of_their_own(qtbot, saving, until):
    first, second = layer_of(name="a"), layer_of(name="b")
    saving.keep_edit(first, added((1, 2)))
    saving.keep_edit(second, added((3, 4), (5, 6)))
    until()
    numbers = [entry.id for entry in images.all_images(saving.store)]
    assert [len(work.load_dots(saving.store, n)) for n in numbers] == [1, 2]
    saving.forget(key_of(first))
    saving.forget(key_of(second))
    heard = []
    saving.restore(layer_of(name="again"), heard.append)
    qtbot.waitUntil(lambda: bool(heard))
    assert len(heard[0].work.dots) == 1


def test_a_file_whose_layer_is_renamed_is_known_by_its_name_next_time(
    qtbot, saving, until, tmp_path
):
    path = tmp_path / "cells.tif"
    layer = layer_of(path)
    heard = []
    saving.restore(layer, heard.append)
    qtbot.waitUntil(lambda: bool(heard))
    layer.name = "control"
    saving.keep_edit(layer, added((1, 2)))
    until()
    assert [entry.scene for entry in images.all_images(saving.store)] == [None]
    saving.forget(key_of(layer))
    saving.restore(layer_of(path), heard.append)
    qtbot.waitUntil(lambda: len(heard) == 2)
    assert len(heard[1].work.dots) == 1


def test_what_is_saved_late_does_not_make_a_copy_of_an_image_that_is_opened_again(
    saving, until, tmp_path, fake_prediction
):
    first = layer_of(tmp_path / "cells.tif")
    keep = saving.keeper(first)  # of a count that goes on when the image is closed
    saving.forget(key_of(first))
    made = counting.with_dots(fake_prediction(), plane_at(first, ()))
    keep(
        made, intervals.of(made.prediction), unlike=None,
        on_kept=lambda _: None, on_failed=lambda _: None,
    )  # fmt: skip
    saving.keep_edit(layer_of(tmp_path / "cells.tif"), added((1, 2)))
    until()
    assert [entry.scene for entry in images.all_images(saving.store)] == [None]


def test_a_full_disk_is_told_and_nothing_is_lost(qtbot, saving, until, monkeypatch):
    layer = layer_of()
    saving.keep_edit(layer, added((1, 2)))
    until()
    record, full = work.record, [True]

    def recorded(*args, **kwargs):
        if full[0]:
            raise TryAgainError("the disk is full: free some space")
        return record(*args, **kwargs)

    monkeypatch.setattr(work, "record", recorded)
    saving.keep_edit(layer, added((5, 5), (6, 6)))
    saving.keep_edit(layer, added((7, 7)))
    qtbot.waitUntil(lambda: saving.line.stuck and bool(saving.trouble))
    assert saving.trouble.startswith("Not saved yet: the disk is full")
    assert len(work.load_dots(saving.store, 1)) == 1
    full[0] = False
    saving.try_again()
    until()
    assert not saving.trouble
    assert len(work.load_dots(saving.store, 1)) == 4


def test_a_project_that_is_open_elsewhere_can_be_read_only(qtbot, saving, until, tmp_path):
    path = tmp_path / "study.celltally"
    errors = []
    with Store(path) as other:
        images.register(other, name="cells", pixels_sha256="00")
        saving.open(path, on_failed=errors.append)
        qtbot.waitUntil(lambda: bool(errors))
        assert "open in another program" in str(errors[0])
        saving.open(path, read_only=True)
        qtbot.waitUntil(lambda: saving.read_only and "reading" in saving.trouble)
        saving.keep_edit(layer_of(), added((1, 2)))
        until()
        assert len(images.all_images(other)) == 1


def test_counting_again_keeps_one_count_of_a_plane_in_view(saving, until, fake_prediction):
    layer = layer_of()
    counted = counting.with_dots(fake_prediction(), plane_at(layer, ()))
    for _ in range(2):
        saving.keep_count(layer, counted, intervals.of(counted.prediction), unlike=None)
    until()
    assert len(latest_counts(saving.store)) == 1
    assert saving.number_of(key_of(layer)) is not None
