from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from napari.layers import Image

from celltally._napari import checks, planes, texts
from celltally._napari.counting import Looked, look_job
from celltally._napari.export import write_counts
from celltally.errors import UserError
from celltally.intervals import known_appearances
from celltally.progress import drain
from celltally.types import Calibration, Interval


@pytest.mark.parametrize("value", [None, 0, -3.0, math.nan, math.inf, 0.5, 1e6])
def test_a_diameter_that_makes_no_sense_is_refused_in_words(value):
    message = checks.diameter_problem(value, (100, 200))
    assert message is not None
    assert "diameter" in message


def test_a_usual_diameter_is_no_problem():
    assert checks.diameter_problem(12.5, (100, 200)) is None


@pytest.mark.parametrize(
    ("shape", "rgb", "well"),
    [((5, 5), False, True), ((5, 5, 3), True, True), ((4,), False, False), ((0, 5), False, False)],
)
def test_shapes(shape, rgb, well):
    assert (checks.shape_problem(shape, rgb=rgb) is None) is well


@pytest.mark.parametrize(
    ("ndisplay", "displayed", "ndim", "well"),
    [(2, (0, 1), 2, True), (2, (1, 2), 3, True), (3, (0, 1, 2), 3, False), (2, (0, 2), 3, False)],
)
def test_views(ndisplay, displayed, ndim, well):
    assert (checks.view_problem(ndisplay, displayed, ndim) is None) is well


def test_model_warnings_name_what_is_unlike(make_record):
    assert checks.model_warnings(make_record(), 20.0) == ()
    assert "smaller" in checks.model_warnings(make_record(), 2.0)[0]
    assert "2000 px are much larger" in checks.model_warnings(make_record(), 2000.0)[0]
    assert "not calibrated" in checks.model_warnings(make_record(files={}), 20.0)[0]


def calibration(**ranges):
    return Calibration(1.0, 0.0, 1.0, (1.0,), n=1, groups=1, date="", ranges=ranges)


@pytest.mark.parametrize(
    ("statistics", "diameter", "words"),
    [
        ({"contrast": 1.5}, 12.0, None),
        ({"contrast": 1.5}, None, None),
        ({"contrast": 0.5}, 12.0, "contrast much lower than any seen"),
        ({"contrast": 1.5}, 90.0, "cells much larger than any seen"),
        ({"contrast": 1.5}, 25.0, "the diameter is much larger than the cells look"),
        ({}, 12.0, "shows too little to be compared"),
    ],
)
def test_an_image_unlike_the_training_images_is_told_in_one_sentence(
    make_record, statistics, diameter, words
):
    seen = calibration(
        contrast=(1.0, 2.0), diameter_px=(5.0, 40.0), diameter_ratio=(0.7, 1.4), density=(1.0, 2.0)
    )
    looked = Looked(None, 12.0 if statistics else None, statistics)
    warnings = checks.model_warnings(make_record(), diameter, seen, looked)
    assert len(warnings) == (words is not None)
    if words:
        assert warnings[0].startswith("Unlike the training images: ")
        assert words in warnings[0]


@pytest.mark.parametrize(
    ("level", "diameter", "strange"),
    [(0.5, 12.0, False), (9.0, 12.0, True), (9.0, None, True), (9.0, 14.0, False)],
)
def test_an_image_that_looks_unlike_the_others_is_told_before_it_is_counted(
    make_record, level, diameter, strange
):
    rng = np.random.default_rng(0)
    looks = [{"level_50": x, "colour": y} for x, y in rng.normal(size=(60, 2)).tolist()]
    known = known_appearances(looks, list(map(str, range(60))), {"level_50": 0.1, "colour": 0.1})
    seen = replace(calibration(diameter_px=(5.0, 40.0)), appearances=known)
    looked = Looked(None, 12.0, {"contrast": 1.5}, {"level_50": level, "colour": 0.0})
    warnings = checks.model_warnings(make_record(), diameter, seen, looked)
    # With another diameter the image has to be looked at on another scale: nothing is said.
    assert len(warnings) == strange
    if strange:
        assert "looks unlike any seen, most of all in its brightness" in warnings[0]


def test_looking_gives_the_statistics_that_a_count_gives(
    tiny_model, make_plane, draw_cells, scatter
):
    from celltally.predict import predict

    rng = np.random.default_rng(0)
    pixels = draw_cells(scatter(12, (120, 140), rng), (120, 140), rng=rng)
    looked = drain(look_job(make_plane(pixels), guess=False))
    prediction = predict(tiny_model, pixels)
    counted = prediction.statistics
    assert looked.appearance == prediction.appearance != {}
    assert looked.diameter_px == counted["diameter_px"]
    assert looked.statistics
    assert looked.statistics.items() <= counted.items()
    nothing = drain(look_job(make_plane(np.ones((64, 64))), guess=False))
    assert (nothing.diameter_px, nothing.statistics) == (None, {})


def test_numbers_are_grouped_and_a_missing_one_is_a_dash():
    assert texts.number(1234.4) == "1\u202f234"
    assert texts.number(math.nan) == "–"
    assert texts.cells(1.2) == "1 cell"
    assert texts.cells(1233.6) == "1\u202f234 cells"


def test_intervals_in_words():
    well = Interval(1190, 1280, 0.95, "calibrated")
    assert texts.interval_range(well) == "1\u202f190 – 1\u202f280"
    assert texts.interval_words(well) == ""
    strange = Interval(1, 2, 0.95, "not calibrated", "cells much larger than any seen")
    assert texts.interval_words(strange) == (
        "Interval not calibrated: cells much larger than any seen."
    )
    assert texts.interval_range(Interval(math.nan, math.nan, 0.95, "not calibrated")) == (
        "no interval"
    )


def test_dots_in_words():
    assert texts.dots(10, 10.2) == "10 dots, as many as counted."
    assert texts.dots(8, 10) == "8 dots, 2 fewer than counted."
    assert texts.dots(1, 0.2) == "1 dot, 1 more than counted."
    assert texts.dots(0, 3) == "0 dots, 3 fewer than counted."
    assert texts.dots(0, 0.3) == "No dots."


def test_long_names_lose_their_middle():
    name = "IXMtest_H17_s1_w10A751E6C-5D06-4147-AB73-7FFAE0B57CC5.tif"
    assert len(texts.short(name, 30)) == 30
    assert texts.short(name, 30).endswith("CC5.tif")
    assert texts.short("a.tif", 30) == "a.tif"


def test_counts_are_a_row_of_the_batch_table_and_grow(tmp_path, make_counted):
    from celltally.batch import COLUMNS, read_counts

    path = tmp_path / "counts.csv"
    counted, interval = make_counted(), Interval(3.0, 5.0, 0.95, "calibrated")
    write_counts(path, counted, interval, 4)
    write_counts(path, counted, interval, 4)
    rows = read_counts(path)
    assert len(rows) == 2
    assert tuple(rows[0]) == COLUMNS
    assert np.isclose(float(rows[0]["count"]), counted.prediction.count, atol=1e-3)
    assert (rows[0]["ci_low"], rows[0]["n_dots"], rows[0]["z"]) == ("3.0000", "4", "2")


def test_counts_do_not_replace_a_foreign_file(tmp_path, make_counted):
    path = tmp_path / "notes.csv"
    path.write_text("my,notes\n1,2\n")
    with pytest.raises(UserError, match="no table of counts"):
        write_counts(path, make_counted(), Interval(3.0, 5.0, 0.95, "calibrated"), 4)
    assert path.read_text() == "my,notes\n1,2\n"


@pytest.mark.parametrize(("unit", "size"), [("inch", 50800.0), ("angstrom", 2e-4), ("s", None)])
def test_a_layer_has_a_pixel_size_in_every_unit_of_length(unit, size):
    found = planes.pixel_size_um(Image(np.zeros((4, 4)), scale=(2, 2), units=(unit, unit)))
    assert found == (size if size is None else pytest.approx(size))
