"""``celltally count`` over time and z, and what ``celltally total`` makes of its tables."""

from __future__ import annotations

import json
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
import tifffile
from scipy import ndimage

from celltally.batch import COLUMNS
from celltally.cli import run
from celltally.cli.counting import parse_plane, parse_planes
from celltally.density import density_map
from celltally.errors import UserError
from celltally.types import Grid, Prediction, Progress


@pytest.fixture
def by_brightness(monkeypatch):
    """A fake model that finds a cell in every bright blob: one with random weights finds none."""

    def fake(model, pixels, *, diameter_px=None, device="auto", tile=None, image=""):
        yield Progress(1, 1, "counting")
        grid = Grid(pixels.shape)
        labels, n = ndimage.label(pixels > 120)
        yx = np.array(ndimage.center_of_mass(pixels > 120, labels, range(1, n + 1))).reshape(-1, 2)
        density = density_map(yx, grid, 1.5)[None]
        return Prediction(
            density=density,
            variance=density,
            grid=grid,
            image_shape=pixels.shape,
            diameter_px=diameter_px,
            model=model.name,
            model_sha256=model.sha256,
            calibration_sha256=model.calibration_sha256,
            image=image,
        )

    monkeypatch.setattr(import_module("celltally.predict"), "iter_predict", fake)
    monkeypatch.setattr(import_module("celltally.stack"), "iter_predict", fake)


@pytest.fixture
def movie(tmp_path, draw_cells, scatter):
    """Three time points of four planes; returns its path."""
    rng = np.random.default_rng(0)
    stack = [
        [draw_cells(scatter(n, (48, 56), rng), (48, 56), rng=rng) for _ in range(4)]
        for n in (2, 4, 6)
    ]
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, np.array(stack), imagej=True, metadata={"axes": "TZYX"})
    return path


def count(path, tiny, *more):
    return run(["count", str(path), "--model", str(tiny), "--diameter", "12", *more])


@pytest.mark.parametrize(
    ("text", "planes"),
    [
        (None, {}),
        ("t=0,z=3", {"t": 0, "z": 3}),
        ("T=all", {"t": slice(None)}),
        (" t = 0:10 , z = 2 ", {"t": slice(0, 10), "z": 2}),
        ("t=:4", {"t": slice(None, 4)}),
        ("z=4:", {"z": slice(4, None)}),
        ("t=:", {"t": slice(None)}),
    ],
)
def test_planes_as_text(text, planes):
    assert parse_planes(text) == planes


@pytest.mark.parametrize("text", ["t=a:b", "t=0-9", "t=1:2:3", "t=all,t=1", "t=every", "t=", "all"])
def test_what_is_no_choice_of_planes(text):
    with pytest.raises(UserError, match="as in t=0,z=3, or as in t=all"):
        parse_planes(text)


def test_an_explanation_is_of_one_plane():
    assert parse_plane("t=1,z=2") == {"t": 1, "z": 2}
    for text in ("t=all", "t=a"):
        with pytest.raises(UserError, match=r"chosen by .*: write it as in t=0,z=3$"):
            parse_plane(text)


def test_a_curve_on_the_screen_and_in_the_table(movie, tiny, capsys, tmp_path, by_brightness):
    out, dots = tmp_path / "counts.csv", tmp_path / "dots"
    assert count(movie, tiny, "--plane", "t=all", "--out", str(out), "--dots", str(dots)) == 0
    shown, told = capsys.readouterr()
    header, *lines = [line.split("\t") for line in shown.splitlines()]
    assert told == ""
    assert header == ["image", "t", "count", "interval", "dots"]
    assert [line[:2] for line in lines] == [
        ["movie.tif", "0"],
        ["movie.tif", "1"],
        ["movie.tif", "2"],
    ]
    table = pd.read_csv(out)
    assert list(table.columns) == list(COLUMNS)
    assert list(table["t"]) == [0, 1, 2]
    assert list(table["z"]) == [2, 2, 2]
    assert [line[2] for line in lines] == [f"{n:.1f}" for n in table["count"]]
    written = pd.read_csv(dots / "movie.csv")
    assert len(written) == table["n_dots"].sum() > 0
    assert table["n_dots"].is_monotonic_increasing
    assert count(movie, tiny, "--plane", "t=all", "--out", str(out), "--resume") == 0
    assert "1 of 1 images were counted before" in capsys.readouterr().err


@pytest.mark.parametrize(("z_stack", "z"), [("projection", "max"), ("merged", "merged")])
def test_stacks_as_json(movie, tiny, capsys, tmp_path, z_stack, z):
    out = tmp_path / "counts.csv"
    more = ("--z-stack", z_stack, "--plane", "t=1:3,z=0:3", "--out", str(out))
    assert count(movie, tiny, *more, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["t"], row["z"]) for row in rows] == [(1, z), (2, z)]
    assert all(row["status"] == "ok" for row in rows)
    assert all((row["ci_low"] is None) == (z_stack == "merged") for row in rows)
    assert list(pd.read_csv(out)["z"]) == [z, z]
    assert all("z 0 to 2" in row["message"] for row in rows)


def test_merging_is_the_user_s(movie, tiny, capsys, by_brightness):
    counts = []
    for more in ((), ("--merge-distance", "0.01"), ("--merge-gap", "3", "--merge-distance", "40")):
        assert count(movie, tiny, "--z-stack", "merged", "--plane", "t=2", "--json", *more) == 0
        (row,) = json.loads(capsys.readouterr().out)
        assert row["count"] == row["n_dots"]
        counts.append(row["count"])
    apart, default, together = counts[1], counts[0], counts[2]
    assert apart > default > together


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--plane", "z=all"], "z=all are several planes"),
        (["--plane", "z=2", "--z-stack", "merged"], "z=2 is one plane"),
        (["--z-stack", "sum"], "'sum'"),
        (["--merge-gap", "1"], "unless cells are merged"),
        (["--z-stack", "merged", "--merge-distance", "-2"], "distance of -2 px"),
        (["--plane", "t=5:2"], "t=5:2"),
    ],
)
def test_wrong_choices_are_one_sentence(movie, tiny, capsys, options, words):
    assert count(movie, tiny, *options) == 2
    shown, told = capsys.readouterr()
    assert words in told
    assert shown == ""
    assert len(told.splitlines()) == 1


def test_stopping_in_a_film_says_how_far(movie, tiny, capsys, tmp_path, monkeypatch):
    module = import_module("celltally.predict")
    real, calls = module.iter_predict, []

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return (yield from real(*arguments, **options))

    monkeypatch.setattr(module, "iter_predict", interrupted)
    out = tmp_path / "counts.csv"
    assert count(movie, tiny, "--plane", "t=all", "--out", str(out)) == 130
    assert "Stopped after 2 rows" in capsys.readouterr().err
    monkeypatch.setattr(module, "iter_predict", real)
    assert count(movie, tiny, "--plane", "t=all", "--out", str(out), "--resume") == 0
    assert list(pd.read_csv(out)["t"]) == [0, 1, 2]


@pytest.fixture
def total(tmp_path, capsys):
    """Run ``celltally total`` on rows of (image, t, z, count); returns status and words."""

    def run_total(*rows):
        lines = [",".join(map(str, row)) + ",ok" for row in rows]
        (tmp_path / "counts.csv").write_text("\n".join(["image,t,z,count,status", *lines]) + "\n")
        (tmp_path / "audits.csv").write_text("image,count\na.tif,9\nb.tif,12\n")
        status = run(["total", str(tmp_path / "counts.csv"), str(tmp_path / "audits.csv")])
        return status, capsys.readouterr().err

    return run_total


def test_time_points_are_never_summed(total):
    status, told = total(("a.tif", 0, 0, 9), ("a.tif", 1, 0, 8), ("b.tif", 0, 0, 11))
    assert status == 2
    assert "several time points of 'a.tif'" in told
    assert "leave the rows of one time point" in told
    assert len(told.splitlines()) == 1


def test_one_time_point_and_one_kind_are_a_study(total):
    assert total(("a.tif", 3, 0, 9), ("b.tif", 3, 2, 11))[0] == 0
    assert total(("a.tif", 0, "merged", 9), ("b.tif", 0, "merged", 11))[0] == 0


@pytest.mark.parametrize("other", ["max", "merged"])
def test_planes_and_stacks_are_never_summed(total, other):
    status, told = total(("a.tif", 0, 3, 9), ("b.tif", 0, other, 11))
    assert status == 2
    assert "leave those of one kind" in told


def test_rows_of_one_time_point_twice(total):
    status, told = total(("a.tif", 0, 3, 9), ("a.tif", 0, 4, 9), ("b.tif", 0, 0, 11))
    assert status == 2
    assert "'a.tif' 2 times" in told
