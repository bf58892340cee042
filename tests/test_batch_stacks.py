"""A batch over time and z: curves, projections, merged stacks, and what is resumed of them."""

from __future__ import annotations

import json
from importlib import import_module

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest
import tifffile

from celltally.batch import COLUMNS, Counted, iter_count, read_counts, typed
from celltally.density import density_map
from celltally.errors import UserError
from celltally.io import read_dots
from celltally.progress import drain
from celltally.types import Calibration, Grid, Prediction, Progress

CELL = 200  # the fake model counts the pixels that have this value
BAD = 77  # and breaks at one of this value


@pytest.fixture
def counted(monkeypatch):
    """What a fake model was shown, in order: cells, and the diameter to count with."""
    seen: list[tuple[int, float | None]] = []

    def fake(model, pixels, *, diameter_px=None, device="auto", tile=None, image=""):
        yx = np.argwhere(pixels == CELL)
        seen.append((len(yx), diameter_px))
        if (pixels == BAD).any():
            raise UserError(f"{image} has a plane that cannot be counted; leave it out")
        yield Progress(1, 1, "counting")
        grid = Grid(pixels.shape[:2])
        density = density_map(yx, grid, 1.5)[None]
        return Prediction(
            density=density,
            variance=np.zeros_like(density),
            grid=grid,
            image_shape=pixels.shape[:2],
            diameter_px=diameter_px or 10.0,
            model=model.name,
            model_sha256=model.sha256,
            calibration=Calibration(1.0, 0.0, 4.0, tuple(np.linspace(0, 2, 40)), 40, 40, ""),
            calibration_sha256=model.calibration_sha256,
            image=image,
        )

    monkeypatch.setattr(import_module("celltally.predict"), "iter_predict", fake)
    monkeypatch.setattr(import_module("celltally.stack"), "iter_predict", fake)
    return seen


def field(n, first=0):
    """A field with the cells ``first`` to ``first + n`` of a grid of places."""
    pixels = np.zeros((60, 60), np.uint8)
    places = [(y, x) for y in range(10, 51, 12) for x in range(10, 51, 12)]
    for y, x in places[first : first + n]:
        pixels[y, x] = CELL
    return pixels


def write(path, stack, axes):
    tifffile.imwrite(path, stack, imagej=True, metadata={"axes": axes})
    return path


@pytest.fixture
def film(tmp_path):
    """Five time points with 1, 2, 3, 4, 5 cells."""
    folder = tmp_path / "in"
    folder.mkdir()
    return write(folder / "film.tif", np.stack([field(n) for n in range(1, 6)]), "TYX")


@pytest.fixture
def volume(tmp_path):
    """Two time points of six planes: 3 cells in planes 1 to 3, 2 others in planes 3 and 4."""
    stack = np.zeros((2, 6, 60, 60), np.uint8)
    stack[0, 1:4] += field(3)
    stack[0, 3:5] += field(2, first=5)
    stack[1, 2] = field(4)
    (tmp_path / "in").mkdir(exist_ok=True)
    return write(tmp_path / "in" / "volume.tif", stack, "TZYX")


def count(*paths, **options):
    options.setdefault("diameter_px", 10.0)
    return drain(iter_count(paths, **options))


# --- time ------------------------------------------------------------------------


def test_a_row_a_time_point(film, tiny, counted, tmp_path):
    out = tmp_path / "counts.csv"
    table = count(film, model=tiny, plane={"t": slice(None)}, out=out)
    assert list(table["t"]) == [0, 1, 2, 3, 4]
    assert list(table["image"]) == ["film.tif"] * 5
    assert list(table["n_dots"]) == [1, 2, 3, 4, 5]
    assert table["count"].to_numpy() == pytest.approx([1, 2, 3, 4, 5], abs=1e-3)
    assert (table["ci_high"] >= table["count"]).all()
    assert list(table["z"]) == [0] * 5
    assert table["z"].dtype == "Int64"
    assert list(pd.read_csv(out).columns) == list(COLUMNS)
    assert [row["t"] for row in read_counts(out)] == list("01234")
    some = count(film, model=tiny, plane={"t": slice(1, 3)})
    assert list(some["t"]) == [1, 2]


def test_images_without_time_have_one_row(film, tiny, counted):
    iio.imwrite(film.parent / "still.png", field(7))
    table = count(film.parent, model=tiny, plane={"t": slice(None)})
    assert list(table["image"]) == ["film.tif"] * 5 + ["still.png"]
    assert table["t"].iloc[-1] == 0


def test_a_stack_without_time_says_so(volume, tiny, counted):
    write(volume, np.zeros((6, 60, 60), np.uint8), "ZYX")
    table = count(volume, model=tiny, plane={"t": slice(None)})
    assert "no axis of time; of its 6 z planes z 3 was counted" in table["message"][0]


def test_a_time_point_that_fails_is_a_row(film, tiny, counted):
    stack = np.stack([field(n) for n in range(1, 6)])
    stack[2, 0, 0] = BAD
    write(film, stack, "TYX")
    table = count(film, model=tiny, plane={"t": slice(None)})
    assert list(table["t"]) == [0, 1, 2, 3, 4]
    assert list(table["status"]) == ["ok", "ok", "failed", "ok", "ok"]
    assert "film.tif" in table["message"][2]


def test_time_points_that_are_not_there(film, tiny, counted):
    table = count(film, model=tiny, plane={"t": slice(0, 9)})
    assert list(table["status"]) == ["failed"]
    assert table["t"].isna().all()
    assert "no plane t=8; valid: t 0 to 4" in table["message"][0]
    assert counted == []


def test_steps_of_a_series(film, tiny, counted):
    iio.imwrite(film.parent / "still.png", field(7))
    job = iter_count([film.parent], model=tiny, plane={"t": slice(None)}, diameter_px=10.0)
    steps = list(job)
    rows = [step for step in steps if isinstance(step, Counted)]
    assert [step.done for step in rows] == [0, 0, 0, 0, 1, 2]
    assert {step.total for step in steps} == {2}
    assert [step.row["t"] for step in rows] == list("012340")
    assert any(step.message == "film.tif, t 3" for step in steps)


def test_one_diameter_for_the_whole_film(film, tiny, counted, monkeypatch):
    estimates = iter([8.0, 9.0, 20.0, 10.0, 9.5])
    monkeypatch.setattr("celltally.stack.estimate_diameter", lambda pixels: next(estimates))
    steps = list(iter_count([film], model=tiny, plane={"t": slice(None)}))
    assert [diameter for _, diameter in counted] == [9.5] * 5
    # Whatever has no values is read out to the user.
    assert all(s.values or isinstance(s, Counted) or not s.done for s in steps)


def test_a_single_plane_estimates_its_own(film, tiny, counted, monkeypatch):
    monkeypatch.setattr("celltally.stack.estimate_diameter", lambda pixels: pytest.fail("asked"))
    count(film, model=tiny, plane={"t": 2}, diameter_px=None)
    assert counted == [(3, None)]


def test_files_of_a_film(film, tiny, counted, tmp_path):
    where = {"dots_dir": tmp_path / "d", "density_dir": tmp_path / "d"}
    table = count(film, model=tiny, plane={"t": slice(1, 4)}, **where)
    dots = read_dots(tmp_path / "d" / "film.csv")
    assert np.bincount(dots.t).tolist() == [0, 2, 3, 4]
    assert len(set(dots.id)) == 9
    with tifffile.TiffFile(tmp_path / "d" / "film.tif") as tif:
        assert tif.series[0].axes == "TYX"
        assert tif.imagej_metadata["Labels"] == ["t 1, z 0", "t 2, z 0", "t 3, z 0"]
        sums = tif.asarray().sum(axis=(1, 2), dtype=float)
    assert sums == pytest.approx(table["count"].to_numpy(), abs=1e-3)
    again = count(film, model=tiny, plane={"t": slice(None)}, **where)  # they are ours
    assert len(read_dots(tmp_path / "d" / "film.csv")) == again["n_dots"].sum()


# --- z ---------------------------------------------------------------------------


def test_a_projection(volume, tiny, counted, tmp_path):
    out = tmp_path / "counts.csv"
    table = count(volume, model=tiny, z_stack="projection", out=out, dots_dir=tmp_path)
    assert counted == [(5, 10.0)]
    assert list(table["z"]) == ["max"]
    assert table["count"][0] == pytest.approx(5, abs=1e-3)
    assert table["interval_kind"][0] == "calibrated"
    assert table["ci_low"][0] <= 5 <= table["ci_high"][0]
    assert "maximum projection of z 0 to 5" in table["message"][0]
    assert read_counts(out)[0]["z"] == "max"
    dots = read_dots(tmp_path / "volume.csv")
    assert sorted(dots.z.tolist()) == [1, 1, 1, 3, 3]  # where each is brightest


def test_each_plane_that_is_read_for_a_projection_is_told(volume, tiny, counted, tmp_path):
    told = []
    options = {"diameter_px": 10.0, "z_stack": "projection", "dots_dir": tmp_path}
    drain(
        iter_count([volume], model=tiny, **options),
        lambda step: told.append(step.values.get("planes")),
    )
    assert told.count(6.0) == 12  # once to project them, once for the dots' planes


def test_merged(volume, tiny, counted, tmp_path):
    out = tmp_path / "counts.csv"
    files = {"dots_dir": tmp_path / "d", "density_dir": tmp_path / "d"}
    table = count(volume, model=tiny, z_stack="merged", out=out, **files)
    assert [n for n, _ in counted] == [0, 3, 3, 5, 2, 0]
    row = table.iloc[0]
    assert (row["z"], row["t"], row["count"], row["n_dots"]) == ("merged", 0, 5.0, 5)
    assert row["interval_kind"] == "not calibrated"
    assert np.isnan(row["ci_low"])
    assert np.isnan(row["ci_high"])
    assert pd.isna(row["in_distribution"])
    for words in ("merged over z have no interval", "cells of z 0 to 5, merged", "than 5 px"):
        assert words in row["message"]
    assert read_counts(out)[0]["z"] == "merged"
    dots = read_dots(tmp_path / "d" / "volume.csv")
    assert len(dots) == 5
    assert (dots.z >= 1).all()
    with tifffile.TiffFile(tmp_path / "d" / "volume.tif") as tif:
        assert tif.series[0].axes == "ZYX"
        sums = tif.asarray().sum(axis=(1, 2), dtype=float)
    assert sums == pytest.approx([0, 3, 3, 5, 2, 0], abs=1e-3)


def test_some_planes_only_and_how_they_are_merged(volume, tiny, counted):
    plane = {"t": 0, "z": slice(3, 5)}
    table = count(volume, model=tiny, z_stack="merged", plane=plane)
    assert [n for n, _ in counted] == [5, 2]
    assert "cells of z 3 to 4, merged" in table["message"][0]
    far = count(volume, model=tiny, z_stack="merged", merge_distance_px=2.5, merge_gap=2)
    assert "no farther apart than 2.5 px and 2 planes" in far["message"][0]


def test_over_time_and_z(volume, tiny, counted, tmp_path):
    files = {"dots_dir": tmp_path / "d", "density_dir": tmp_path / "d"}
    every = {"t": slice(None)}
    merged = count(volume, model=tiny, z_stack="merged", plane=every, **files)
    assert list(merged["t"]) == [0, 1]
    assert list(merged["count"]) == [5, 4]
    dots = read_dots(tmp_path / "d" / "volume.csv")
    assert sorted(zip(dots.t, dots.z, strict=True))[-1] == (1, 2)
    with tifffile.TiffFile(tmp_path / "d" / "volume.tif") as tif:
        assert tif.series[0].axes == "TZYX"
        assert tif.series[0].shape[:2] == (2, 6)
    projected = count(volume, model=tiny, z_stack="projection", plane=every, **files)
    assert projected["n_dots"].to_list() == [5, 4]
    assert projected["z"].to_list() == ["max", "max"]
    with tifffile.TiffFile(tmp_path / "d" / "volume.tif") as tif:
        assert tif.imagej_metadata["Labels"] == ["t 0, z max", "t 1, z max"]


def test_a_flat_image_is_a_stack_of_one(film, tiny, counted):
    for z_stack, z in (("projection", "max"), ("merged", "merged")):
        table = count(film, model=tiny, z_stack=z_stack, plane={"t": 2})
        assert (table["z"][0], table["n_dots"][0], table["t"][0]) == (z, 3, 2)
        assert "there is one z plane only" in table["message"][0]


def test_a_plane_that_fails_spoils_its_time_point(volume, tiny, counted):
    stack = np.zeros((2, 6, 60, 60), np.uint8)
    stack[1, 4, 0, 0] = BAD
    write(volume, stack, "TZYX")
    table = count(volume, model=tiny, z_stack="merged", plane={"t": slice(None)})
    assert list(table["status"]) == ["ok", "failed"]
    alone = count(volume, model=tiny, z_stack="merged", plane={"t": 1})
    assert list(alone["status"]) == ["failed"]


def test_it_can_be_stopped_after_every_plane(volume, tiny, counted):
    job = iter_count([volume], model=tiny, z_stack="merged", diameter_px=10.0)
    for step in job:
        if step.values.get("plane") == 2:
            break
    job.close()
    assert len(counted) == 2


def test_tables_tell_planes_from_stacks():
    rows = [dict.fromkeys(COLUMNS, "") | {"z": z} for z in ("3", "max", "", "merged")]
    assert typed(rows)["z"].to_list() == [3, "max", pd.NA, "merged"]
    assert typed(rows[::2])["z"].dtype == "Int64"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"z_stack": "sum"}, "by 'sum'; valid: plane, projection, merged"),
        ({"plane": {"z": slice(None)}}, "z=all are several planes"),
        ({"plane": {"z": slice(2, 4)}}, "z=2:4 are several planes"),
        ({"plane": {"z": 3}, "z_stack": "merged"}, "nothing to be merged"),
        ({"plane": {"Z": 3}, "z_stack": "projection"}, "nothing to be projected"),
        ({"plane": {"t": slice(4, 2)}}, "t=4:2"),
        ({"plane": {"t": slice(-3, None)}}, "t=-3:"),
        ({"merge_gap": 1}, "unless cells are merged"),
        ({"merge_distance_px": 4.0, "z_stack": "projection"}, "unless cells are merged"),
        ({"merge_distance_px": 0.0, "z_stack": "merged"}, "distance of 0 px"),
        ({"merge_gap": -1, "z_stack": "merged"}, "gap of -1"),
    ],
)
def test_wrong_arguments_are_found_before_an_image_is_opened(
    film, tiny, counted, monkeypatch, options, words
):
    opened = []
    monkeypatch.setattr("celltally.batch.image.read_image", opened.append)
    with pytest.raises(UserError) as caught:
        count(film, model=tiny, **options)
    assert words in str(caught.value)
    assert opened == []


# --- resuming --------------------------------------------------------------------

FILM = {"plane": {"t": slice(None)}}


def stop_after(job, n):
    """Close a job after its n-th row, as Ctrl-C does."""
    for step in job:
        if isinstance(step, Counted):
            n -= 1
            if n == 0:
                job.close()
                return


def test_a_film_goes_on_where_it_stopped(film, tiny, counted, tmp_path):
    out = tmp_path / "counts.csv"
    stop_after(iter_count([film], model=tiny, out=out, diameter_px=10.0, **FILM), 2)
    assert [row["t"] for row in read_counts(out)] == ["0", "1"]
    del counted[:]
    steps = list(iter_count([film], model=tiny, out=out, diameter_px=10.0, resume=True, **FILM))
    assert [n for n, _ in counted] == [3, 4, 5]
    assert [step.done for step in steps if isinstance(step, Counted)] == [0, 0, 1]
    assert [row["t"] for row in read_counts(out)] == list("01234")
    assert not list(tmp_path.glob("*.bak*"))
    del counted[:]
    table = count(film, model=tiny, out=out, resume=True, **FILM)
    assert counted == []
    assert list(table["n_dots"]) == [1, 2, 3, 4, 5]


def test_a_film_is_not_whole_while_rows_are_missing(film, tiny, counted, tmp_path):
    """Taken out by hand, or cut off by a kill."""
    out = tmp_path / "counts.csv"
    count(film, model=tiny, out=out, **FILM)
    lines = out.read_text().splitlines(keepends=True)
    out.write_text("".join(lines[:3] + lines[4:5] + [lines[5][:9]]))
    del counted[:]
    table = count(film, model=tiny, out=out, resume=True, **FILM)
    assert [n for n, _ in counted] == [3, 5]
    assert list(table["t"]) == [0, 1, 2, 3, 4]


def test_files_are_of_all_time_points_or_counted_again(film, tiny, counted, tmp_path):
    out, dots = tmp_path / "counts.csv", tmp_path / "d"
    options = {"model": tiny, "out": out, "dots_dir": dots, **FILM}
    count(film, **options)
    lines = out.read_text().splitlines(keepends=True)
    del counted[:]
    count(film, resume=True, **options)
    assert counted == []
    out.write_text("".join(lines[:4]))
    count(film, resume=True, **options)
    assert len(counted) == 5
    assert len(read_dots(dots / "film.csv")) == 15
    del counted[:]
    (dots / "film.csv").unlink()
    count(film, resume=True, **options)
    assert len(counted) == 5


def test_rows_come_after_their_files(film, tiny, counted, tmp_path):
    out, dots = tmp_path / "counts.csv", tmp_path / "d"
    for step in iter_count([film], model=tiny, out=out, dots_dir=dots, diameter_px=10.0, **FILM):
        if isinstance(step, Counted):
            assert len(read_dots(dots / "film.csv")) == 15


def test_files_that_cannot_be_written_fail_the_image(film, tiny, counted, tmp_path, monkeypatch):
    def full(path, dots):
        raise UserError(f"{path} cannot be written (no space left on device); make room")

    monkeypatch.setattr("celltally.batch.image.write_dots", full)
    iio.imwrite(film.parent / "still.png", field(7))
    out = tmp_path / "counts.csv"
    table = count(film.parent, model=tiny, out=out, dots_dir=tmp_path / "d", **FILM)
    assert list(table["image"]) == ["film.tif", "still.png"]
    assert set(table["status"]) == {"failed"}
    assert "no space left" in table["message"][0]


def test_a_failed_time_point_is_tried_again(film, tiny, counted, tmp_path, monkeypatch):
    out = tmp_path / "counts.csv"
    module = import_module("celltally.predict")
    fake = module.iter_predict

    def breaking(model, pixels, **options):
        if (pixels == CELL).sum() == 3:
            raise MemoryError
        return fake(model, pixels, **options)

    monkeypatch.setattr(module, "iter_predict", breaking)
    count(film, model=tiny, out=out, **FILM)
    monkeypatch.setattr(module, "iter_predict", fake)
    del counted[:]
    table = count(film, model=tiny, out=out, resume=True, **FILM)
    assert [n for n, _ in counted] == [3]
    assert set(table["status"]) == {"ok"}
    assert [row["t"] for row in read_counts(out)] == list("01234")


@pytest.mark.parametrize(
    "change",
    [
        {"z_stack": "projection"},
        {"z_stack": "merged"},
        {"z_stack": "plane"},
        {"z_stack": "projection", "plane": {"z": slice(1, 4)}},
        {"z_stack": "merged", "merge_gap": 1},
        {"z_stack": "merged", "merge_distance_px": 4.0},
        {"z_stack": "projection", "plane": {"t": slice(None)}},
        {"z_stack": "projection", "plane": {"t": 0}},
    ],
)
@pytest.mark.parametrize("first", ["plane", "projection", "merged"])
def test_no_row_is_taken_for_one_of_another_kind(volume, tiny, counted, tmp_path, first, change):
    out = tmp_path / "counts.csv"
    count(volume, model=tiny, out=out, z_stack=first)
    del counted[:]
    count(volume, model=tiny, out=out, resume=True, **change)
    assert bool(counted) == (change != {"z_stack": first})
    assert {row["z"] for row in read_counts(out)} <= {
        {"plane": "3", "projection": "max", "merged": "merged"}[change["z_stack"]]
    }


def test_the_kind_is_told_by_the_row_as_well(volume, tiny, counted, tmp_path):
    """A row that someone moved between tables is not believed."""
    out = tmp_path / "counts.csv"
    count(volume, model=tiny, out=out, z_stack="projection")
    out.write_text(out.read_text().replace(",max,", ",3,"))
    del counted[:]
    count(volume, model=tiny, out=out, z_stack="projection", resume=True)
    assert len(counted) == 1


def test_odd_origins_are_not_believed(film, tiny, counted, tmp_path):
    out = tmp_path / "counts.csv"
    count(film, model=tiny, out=out, **FILM)
    origins = tmp_path / ".counts.csv.origins"
    (line,) = origins.read_text().splitlines()
    assert json.loads(line)["times"] == [0, 1, 2, 3, 4]
    for times in ('"all"', "null", '["0"]', "[]"):
        origins.write_text(line.replace("[0, 1, 2, 3, 4]", times) + "\n")
        del counted[:]
        count(film, model=tiny, out=out, resume=True, **FILM)
        assert len(counted) == 5


def test_time_points_that_are_not_counted_again_stay_beside_the_table(
    film, tiny, counted, tmp_path
):
    out = tmp_path / "counts.csv"
    count(film, model=tiny, out=out, **FILM)
    steps = list(
        iter_count([film], model=tiny, out=out, plane={"t": slice(0, 2)}, diameter_px=10.0)
    )
    assert "not every image or time point" in steps[-1].message
    assert len(read_counts(tmp_path / "counts.csv.bak")) == 5
    assert len(read_counts(out)) == 2
