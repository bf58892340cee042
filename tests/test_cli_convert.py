"""``celltally convert``: any format to any other, and nothing lost without a word."""

from __future__ import annotations

import json

import numpy as np
import pytest

from celltally.cli import run
from celltally.io import (
    DOT_FORMATS,
    Provenance,
    read_density,
    read_dots,
    read_provenance,
    recognised,
    write_density,
    write_dots,
    write_regions,
)
from celltally.types import Dots, Grid, Prediction, Region

DOTS = Dots.new(
    [[1.25, 2.5], [3, 4], [5, 6]],
    id=["a" * 32, "b" * 32, "c" * 32],
    label=["cell", "dead", "cell"],
    score=[0.5, 0.25, 0.125],
    state=["proposed", "added", "removed"],
)


@pytest.fixture
def dots(tmp_path):
    path = tmp_path / "dots.csv"
    write_dots(path, DOTS)
    return path


def convert(*arguments):
    return run(["convert", *map(str, arguments)])


@pytest.mark.parametrize("name", [known.name for known in DOT_FORMATS])
def test_to_every_format_and_back(dots, tmp_path, name, capsys):
    out, back = tmp_path / "out", tmp_path / "back.csv"
    assert convert(dots, out, "--to", name) == 0
    assert recognised(out).name == name
    assert convert(out, back) == 0
    capsys.readouterr()
    got = read_dots(back)
    kept = DOTS if name in ("celltally", "napari") else DOTS[DOTS.state != "removed"]
    assert sorted(np.rint(got.yx).tolist()) == sorted(np.rint(kept.yx).tolist())


def test_the_suffix_says_the_format(dots, tmp_path, capsys):
    assert convert(dots, tmp_path / "a.geojson") == 0
    out, err = capsys.readouterr()
    assert out == f"Wrote {tmp_path / 'a.geojson'}: QuPath, 2 dots.\n"
    assert err == "In QuPath files removed dots would count: 1 is left out.\n"
    assert recognised(tmp_path / "a.geojson").name == "qupath"
    assert convert(dots, tmp_path / "a.xlsx") == 2
    assert "has no suffix that says a format of dots" in capsys.readouterr().err


def test_json(dots, tmp_path, capsys):
    out = tmp_path / "a.zip"
    assert convert(dots, out, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["source"], found["target"], found["dots"]) == ("celltally", "imagej", 2)
    assert found["lost"][0].endswith("1 is left out.")


def test_an_xml_file_is_of_fiji_unless_said_otherwise(dots, tmp_path, capsys):
    assert convert(dots, tmp_path / "a.xml", "--image", "my image.tif", "--pixel-size", 0.5) == 0
    assert "--to cellfinder" in capsys.readouterr().err
    text = (tmp_path / "a.xml").read_text()
    assert "<Image_Filename>my image.tif<" in text
    assert "<X_Calibration>0.5<" in text
    assert convert(dots, tmp_path / "b.xml") == 0
    assert "<Image_Filename>dots<" in (tmp_path / "b.xml").read_text()
    assert convert(dots, tmp_path / "c.xml", "--pixel-size", 0) == 2


def test_how_the_dots_came_about_goes_with_them(dots, tmp_path):
    known = Provenance(image="field.tif", pixel_size_um=(0.5, 0.5), model="general")
    write_dots(dots, DOTS, provenance=known)
    assert convert(dots, tmp_path / "b.csv", "--to", "napari") == 0
    assert read_provenance(tmp_path / "b.csv") == known
    assert convert(dots, tmp_path / "b.xml") == 0
    assert "<Image_Filename>field.tif<" in (tmp_path / "b.xml").read_text()


def test_from_overrules_the_header(tmp_path):
    write_dots(tmp_path / "a.xml", Dots.new([[1, 2]], z=4), format="cellfinder")
    assert convert(tmp_path / "a.xml", tmp_path / "a.csv", "--from", "cell-counter") == 0
    assert read_dots(tmp_path / "a.csv").z.tolist() == [3]


def test_nothing_is_written_over_that_would_be_lost(dots, tmp_path, capsys):
    assert convert(dots, dots) == 2
    assert "is the file that is to be converted" in capsys.readouterr().err

    other = tmp_path / "a.geojson"
    write_regions(other, [Region(np.array([[0, 0], [5, 0], [5, 5]]))])
    assert convert(dots, other) == 2
    assert "no points; read it as regions" in capsys.readouterr().err
    for name, content in [("b.csv", "notes\nmine\n"), ("c.zip", ""), ("d.csv", "y,x\n1,2\n")]:
        (tmp_path / name).write_text(content)
        assert convert(dots, tmp_path / name) == 2
        assert "choose another name" in capsys.readouterr().err
        assert (tmp_path / name).read_text() == content

    more = tmp_path / "more.csv"
    write_dots(more, Dots.new([[1, 1], [8, 8]]))
    before = more.read_bytes()
    write_dots(tmp_path / "from.geojson", DOTS, format="qupath")
    assert convert(tmp_path / "from.geojson", more) == 2
    assert "has 2 entries that would be lost" in capsys.readouterr().err
    assert more.read_bytes() == before


@pytest.mark.parametrize("name", [known.name for known in DOT_FORMATS])
def test_the_same_conversion_may_be_done_again(dots, tmp_path, name):
    out = tmp_path / "out"
    assert convert(dots, out, "--to", name) == 0
    write_dots(dots, Dots.new([[1, 2], [7, 8]], id=["d" * 32, "e" * 32]))
    assert convert(dots, out, "--to", name) == 2
    write_dots(dots, DOTS)
    assert convert(dots, out, "--to", name) == 0


def test_outlines_beside_dots_are_told(tmp_path, capsys):
    path = tmp_path / "a.geojson"
    write_dots(path, Dots.new([[1, 2]]), format="qupath")
    mixed = json.loads(path.read_text())
    write_regions(path, [Region(np.array([[0, 0], [5, 0], [5, 5]]))])
    mixed["features"] += json.loads(path.read_text())["features"]
    path.write_text(json.dumps(mixed))
    assert convert(path, tmp_path / "a.csv") == 0
    assert "1 outline is no dot and is left out." in capsys.readouterr().err


def test_densities(tmp_path, capsys):
    density = np.random.default_rng(0).random((1, 8, 9)).astype(np.float32)
    found = Prediction(
        density=density, variance=density, grid=Grid((8, 9), (2, 3)), image_shape=(16, 27),
        diameter_px=10, model="general", model_sha256="ab",
    )  # fmt: skip
    tiff, zarr, again = tmp_path / "d.tif", tmp_path / "d.ome.zarr", tmp_path / "again.tif"
    write_density(tiff, found, (0.5, 0.25))
    assert convert(tiff, zarr) == 0
    assert "density OME-Zarr" in capsys.readouterr().out
    assert convert(zarr, again) == 0
    got = read_density(again)
    assert np.array_equal(got.density, density)
    assert (got.pixel_size_um, got.grid) == ((0.5, 0.25), found.grid)
    assert convert(tiff, zarr) == 0  # the same once more
    write_density(tiff, found, (0.5, 0.25))
    write_density(tmp_path / "other.tif", Prediction(**{**vars_of(found), "density": density * 2}))
    assert convert(tiff, tmp_path / "other.tif") == 2
    assert "is another density" in capsys.readouterr().err
    assert convert(tiff, tmp_path / "d.csv") == 2
    assert "is a density, which has no dots" in capsys.readouterr().err


def vars_of(prediction):
    return {name: getattr(prediction, name) for name in prediction.__dataclass_fields__}


@pytest.mark.parametrize("content", ["", "<!DOCTYPE a><a/>", "\x00\x01", "y,x\n1,nan\n"])
def test_a_bad_file_writes_nothing(tmp_path, content, capsys):
    path = tmp_path / "bad.xml"
    path.write_text(content)
    assert convert(path, tmp_path / "out.csv") == 2
    err = capsys.readouterr().err
    assert err.startswith(f"Error: {path}")
    assert err.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["bad.xml"]


def test_unknown_formats_and_missing_files(tmp_path, dots, capsys):
    assert convert(dots, tmp_path / "a", "--to", "excel") == 2
    assert "unknown format of dots 'excel'; valid: " in capsys.readouterr().err
    assert convert(tmp_path / "no.csv", tmp_path / "a.csv") == 2
    assert "no.csv does not exist" in capsys.readouterr().err


def test_help(capsys):
    assert run(["convert", "--help"]) == 0
    assert "Example: celltally convert" in capsys.readouterr().out
