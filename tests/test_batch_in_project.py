"""Counting the images of a project: what is counted, kept and proposed."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import tifffile

from celltally import zoo
from celltally.batch.in_project import ProjectCounted, iter_count_project
from celltally.batch.settings import Settings
from celltally.errors import UserError
from celltally.progress import drain
from celltally.project.counts import in_force, latest_counts, load_prediction
from celltally.project.edits import Edit, diff_dots
from celltally.project.history import history
from celltally.project.images import register
from celltally.project.remembering import of_image
from celltally.project.store import Store
from celltally.project.work import load_dots, record
from celltally.types import Dots

PLAIN = Settings(12.0, None, {}, "plane", None, 0, 0.95, "cpu")


@pytest.fixture
def model(tiny, monkeypatch):
    """A model that sees a cell where it is bright, whatever its network says."""
    predict = import_module("celltally.predict")
    real = predict.iter_predict

    def bright(model, pixels, **options):
        prediction = yield from real(model, pixels, **options)
        step = prediction.grid.step
        density = np.zeros(prediction.grid.shape, dtype=np.float32)
        for y, x in np.argwhere(pixels >= 150)[::40]:
            density[int(y / step[0]), int(x / step[1])] = 1.0
        return replace(prediction, density=density[None])

    monkeypatch.setattr(predict, "iter_predict", bright)
    return zoo.load(tiny)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "study.celltally", author="Ada") as store:
        yield store


@pytest.fixture
def add(store, tmp_path):
    def add(name: str, pixels: np.ndarray, axes: str = "YX") -> int:
        path = tmp_path / name
        tifffile.imwrite(path, pixels, imagej=True, metadata={"axes": axes})
        return register(store, name=name, path=path, shape=pixels.shape[-2:])

    return add


@pytest.fixture
def cells(draw_cells):
    return draw_cells([(15, 15), (40, 50), (20, 60)], (64, 72))


def run(store, model, settings=PLAIN, **options):
    steps: list[ProjectCounted] = []

    def keep(step):
        if isinstance(step, ProjectCounted):
            steps.append(step)

    numbers = drain(iter_count_project(store, model, settings, **options), keep)
    return numbers, steps


def test_a_count_is_kept_with_its_dots(store, model, add, cells):
    number = add("a.tif", cells)
    numbers, (step,) = run(store, model)
    assert numbers == (1, 0)
    assert (step.entry.id, step.done, step.total, step.problem) == (number, 1, 1, "")
    (count,) = latest_counts(store)
    prediction, candidates = load_prediction(store, count)
    assert count.model_sha256 == model.sha256
    assert (count.threshold, count.diameter_px) == (count.default_threshold, 12.0)
    dots = load_dots(store, number)
    assert set(dots.id) == set(candidates.id[candidates.score >= count.threshold])
    assert (dots.state == "proposed").all()
    assert step.proposals[0].new == len(dots)
    (figures,) = of_image(store, number)
    assert figures.count == pytest.approx(prediction.count, rel=1e-3)
    (entry,) = history(store)
    assert (entry.kind, entry.action, entry.author) == ("system", "count", "Ada")
    assert entry.detail["model_sha256"] == model.sha256


def test_what_was_counted_so_is_not_counted_again(store, model, add, cells):
    first, second = add("a.tif", cells), add("b.tif", cells + 1)
    assert run(store, model, image_ids=[first])[0] == (1, 0)
    assert [s.entry.id for s in run(store, model)[1]] == [second]
    assert run(store, model)[0] == (0, 0)
    assert run(store, model, replace(PLAIN, diameter_px=None))[0] == (0, 0)
    assert run(store, model, replace(PLAIN, diameter_px=13.0))[0] == (2, 0)
    assert run(store, model, replace(PLAIN, diameter_px=13.0), threshold=0.3)[0] == (2, 0)
    assert {count.threshold for count in latest_counts(store)} == {0.3}
    assert run(store, model, again=True, image_ids=[second])[0] == (1, 0)
    other = replace(model, calibration_sha256="f" * 64)
    assert run(store, other)[0] == (2, 0)


def test_a_persons_work_stays(store, model, add, cells):
    number = add("a.tif", cells)
    run(store, model)
    before = load_dots(store, number)
    assert len(before)
    touched = replace(before, state=np.full(len(before), "removed"))
    record(store, number, Edit("remove", diff_dots(before, touched)))
    mine = Dots.new([(60, 5)], state="added")
    record(store, number, Edit("add", diff_dots(Dots.new(), mine)))
    _, (step,) = run(store, model, again=True)
    after = load_dots(store, number)
    kept = after[np.isin(after.id, touched.id)]
    assert (kept.state == "removed").all()
    assert set(map(tuple, kept.yx)) == set(map(tuple, before.yx))
    assert set(mine.id) <= set(after.id)
    assert step.proposals[0].beside == len(before)


def test_time_points_are_counted_each_once(store, model, add, cells):
    number = add("t.tif", np.stack([cells, cells[::-1], cells]), "TYX")
    two = replace(PLAIN, plane={"t": slice(0, 2)}, diameter_px=None)
    _, (step,) = run(store, model, two)
    assert len(step.proposals) == 2
    every = replace(PLAIN, plane={"t": slice(None)}, diameter_px=None)
    _, (step,) = run(store, model, every)
    assert len(step.proposals) == 1
    assert [figures.t for figures in of_image(store, number)] == [0, 1, 2]
    _, (step,) = run(store, model, every)
    assert step.proposals == ()


def test_stacks_are_projected_or_merged(store, model, add, cells):
    number = add("z.tif", np.stack([cells // 2, cells, cells // 2]), "ZYX")
    run(store, model, replace(PLAIN, z_stack="projection"))
    (figures,) = of_image(store, number)
    assert (figures.z_method, figures.n_dots) == ("projection", len(load_dots(store, number)))
    assert run(store, model, replace(PLAIN, z_stack="projection"))[1][0].proposals == ()

    run(store, model, replace(PLAIN, z_stack="merged"))
    (figures,) = of_image(store, number)
    assert (figures.z_method, figures.count) == ("merged", figures.n_dots)
    assert sorted(c.z for c in latest_counts(store) if c.z_method == "merged") == [0, 1, 2]

    run(store, model)  # the middle plane: nothing of the others stays proposed
    assert set(load_dots(store, number).z) <= {1}
    assert [f.z for f in of_image(store, number) if f.z_method == "plane"] == [1]


def test_each_plane_that_dots_of_a_projection_are_looked_for_in_is_told(store, model, add, cells):
    add("z.tif", np.stack([cells // 2, cells, cells // 2]), "ZYX")
    words = []
    job = iter_count_project(store, model, replace(PLAIN, z_stack="projection"))
    drain(job, lambda step: words.append(step.message))
    assert sum("looking for the plane" in word for word in words) == 3


def test_what_was_counted_over_z_since_does_not_pass_for_a_plane(store, model, add, cells):
    number = add("z.tif", np.stack([cells // 2, cells, cells // 2]), "ZYX")
    assert run(store, model)[0] == (1, 0)
    run(store, model, replace(PLAIN, z_stack="projection"))
    assert run(store, model)[0] == (1, 0)  # the plane was counted, but the projection holds
    (figures,) = of_image(store, number)
    assert (figures.z_method, figures.z) == ("plane", 1)
    assert set(load_dots(store, number).z) == {1}


def test_merged_planes_leave_no_proposals_in_others(store, model, add, cells):
    number = add("z.tif", np.stack([cells // 2, cells, cells, cells]), "ZYX")
    low = replace(PLAIN, z_stack="merged", plane={"z": slice(0, 2)})
    run(store, model)  # the middle plane, z 2
    assert run(store, model, low)[0] == (1, 0)
    assert set(load_dots(store, number).z) <= {0, 1}
    every = replace(PLAIN, z_stack="merged")
    assert run(store, model, every)[0] == (1, 0)
    assert {2, 3} <= set(load_dots(store, number).z)
    for _ in range(2):  # of fewer planes and of all of them again, each time anew
        assert run(store, model, low)[0] == (1, 0)
        assert set(load_dots(store, number).z) <= {0, 1}
        assert [c.z for c in in_force(latest_counts(store))] == [0, 1]
        assert run(store, model, every)[0] == (1, 0)
        assert run(store, model, every)[0] == (0, 0)


def test_a_count_is_kept_with_its_dots_or_not_at_all(store, model, add, cells, monkeypatch):
    number = add("z.tif", np.stack([cells, cells]), "ZYX")
    module = import_module("celltally.project.new_counts")
    real = module.add_prediction

    def second_fails(store, image_id, *rest, z, **options):
        if z == 1:
            raise UserError("the disk is full")
        return real(store, image_id, *rest, z=z, **options)

    monkeypatch.setattr(module, "add_prediction", second_fails)
    with pytest.raises(UserError, match="full"):
        run(store, model, replace(PLAIN, z_stack="merged"))
    assert not len(load_dots(store, number))
    assert latest_counts(store) == []
    assert history(store) == []


def test_the_diameter_of_a_projection_is_estimated_on_projections(
    store, model, add, cells, monkeypatch
):
    add("zt.tif", np.stack([np.stack([cells // 2, cells, cells // 3])] * 2), "TZYX")
    seen = []
    monkeypatch.setattr("celltally.stack.estimate_diameter", lambda pixels: seen.append(pixels))
    settings = replace(PLAIN, diameter_px=None, z_stack="projection", plane={"t": slice(None)})
    assert run(store, model, settings)[0] == (1, 0)
    assert len(seen) == 2
    for pixels in seen:
        np.testing.assert_array_equal(pixels, cells)


def test_one_bad_image_does_not_end_the_batch(store, model, add, cells, tmp_path):
    add("gone.tif", cells)
    (tmp_path / "gone.tif").unlink()
    bad = tmp_path / "bad.tif"
    bad.write_bytes(b"II*\0")
    register(store, name="bad.tif", path=bad)
    register(store, name="layer", shape=(64, 72))
    good = add("good.tif", cells + 2)
    numbers, steps = run(store, model)
    assert numbers == (1, 3)
    assert [s.problem.split(" ")[0].rpartition("/")[2] for s in steps] == [
        *("gone.tif", "bad.tif", "layer", "")
    ]
    assert [count.image_id for count in latest_counts(store)] == [good]


def test_settings_are_checked_first_and_a_full_project_ends_it(
    store, model, add, cells, monkeypatch
):
    add("a.tif", cells)
    with pytest.raises(UserError, match="level"):
        run(store, model, replace(PLAIN, level=2.0))

    def full(*_, **__):
        raise UserError("the disk is full")

    monkeypatch.setattr("celltally.project.new_counts.record", full)
    with pytest.raises(UserError, match="disk is full"):
        run(store, model)
    assert latest_counts(store) == []
