"""``celltally agree``: files in, a table and files out."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from celltally.cli import run
from celltally.evaluate.agreement import Field, agreement
from celltally.io import read_dots, write_dots, write_regions
from celltally.io.provenance import Provenance
from celltally.types import Dots, Region

STEMS = ("one", "two", "three", "four", "five")
SQUARE = np.array([[0.0, 0.0], [0.0, 50.0], [50.0, 50.0], [50.0, 0.0]])


@pytest.fixture
def folders(tmp_path):
    """Dots of five images by Anna and by Ben, and of a sixth by Anna only."""
    rng = np.random.default_rng(0)
    for who in ("anna", "ben"):
        (tmp_path / who).mkdir()
    for i, stem in enumerate(STEMS):
        yx = rng.uniform(0, 100, (10 + 6 * i, 2))
        label = np.where(rng.random(len(yx)) < 0.5, "live", "dead")
        write_dots(tmp_path / "anna" / f"{stem}.csv", Dots.new(yx, label=label))
        seen = rng.random(len(yx)) < 0.9
        label[::5] = "live"
        moved = yx[seen] + rng.normal(0, 0.5, (seen.sum(), 2))
        # A format of its own: those that read_dots knows may be mixed.
        write_dots(
            tmp_path / "ben" / f"{stem}.csv", Dots.new(moved, label=label[seen]), format="napari"
        )
    write_dots(tmp_path / "anna" / "six.csv", Dots.new([(1, 1)]))
    (tmp_path / "anna" / "notes.txt").write_text("no dots\n")
    (tmp_path / "anna" / "counts.csv").write_text("image,count\none.tif,10\n")
    (tmp_path / "anna" / ".one.csv").write_text("hidden\n")
    return tmp_path / "anna", tmp_path / "ben"


def call(folders, *more):
    return run(["agree", *map(str, folders), *more])


@pytest.fixture
def draw(tmp_path):
    """Write the regions of a field into its file; returns the folder."""
    folder = tmp_path / "regions"

    def write(stem, *regions):
        folder.mkdir(exist_ok=True)
        write_regions(folder / f"{stem}.geojson", regions)
        return folder

    return write


def test_the_figures_are_the_library_s(folders, capsys):
    assert call(folders, "--radius", "3", "--json") == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    wanted = agreement(
        [Field(s, *(read_dots(f / f"{s}.csv") for f in folders)) for s in sorted(STEMS)], 3
    )
    assert told["per_field"] == [field.to_dict() for field in wanted.fields]
    assert told["bias"] == pytest.approx(wanted.limits.bias)
    assert told["slope"] == pytest.approx(wanted.line.slope)
    assert told["kappa"] == pytest.approx(wanted.kappa)
    assert 0 < told["kappa"] < 1
    assert told["without_partner"] == [str(folders[0] / "six.csv")]
    assert err == f"Left out, as the other has no dots of that name: {folders[0] / 'six.csv'}.\n"


def test_a_table(folders, capsys):
    assert call(folders, "--radius", "3") == 0
    out, err = capsys.readouterr()
    rows = dict(line.split("\t") for line in out.splitlines())
    assert rows["fields"] == "5"
    assert rows["cells of A, of B"].startswith("110, ")
    assert rows["of B's cells A has"] == "100.0 %"
    assert "(95 %: " in rows["limits of agreement, lower"]
    assert "kappa of classes" in rows
    assert "kappa of live" not in rows  # the same as that of dead
    assert "up to 3 px apart can be one cell (as given)" in err


def test_files(folders, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    out = tmp_path / "deep" / "agreement"
    assert call(folders, "--radius", "3", "--out", str(out), "--json") == 0
    assert json.loads((out / "agreement.json").read_text()) == json.loads(capsys.readouterr().out)
    with (out / "agreement.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["field"] for row in rows] == sorted(STEMS)
    assert all(int(r["count_a"]) == int(r["matched"]) + int(r["only_a"]) for r in rows)
    for name in ("bland_altman.png", "counts.png"):
        picture = iio.imread(out / name)
        assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 10


def test_without_matplotlib_there_are_the_tables(folders, tmp_path, capsys, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr("celltally.evaluate.plots.importlib.import_module", missing)
    assert call(folders, "--radius", "3", "--out", str(tmp_path / "out")) == 0
    assert "pip install matplotlib" in capsys.readouterr().err
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == [
        "agreement.csv", "agreement.json",
    ]  # fmt: skip


def test_two_files_need_no_common_name(folders, tmp_path, capsys):
    anna = shutil.copy(folders[0] / "one.csv", tmp_path / "by_anna.csv")
    assert call((anna, folders[1] / "one.csv"), "--radius", "3", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["per_field"][0]["field"] == "by_anna"
    assert told["limit_low"] is None
    # A file and a folder are matched by name, and the folder's other files are not meant.
    assert call((folders[0] / "one.csv", folders[1]), "--radius", "3", "--json") == 0
    out, err = capsys.readouterr()
    assert [f["field"] for f in json.loads(out)["per_field"]] == ["one"]
    assert err == ""


def test_the_radius_is_half_the_diameter_of_the_data_set(folders, capsys):
    (folders[0].parent / "dataset.json").write_text('{"diameter_px": 9}')
    assert call(folders) == 0
    assert "4.5 px apart can be one cell (half the cell diameter" in capsys.readouterr().err
    assert call((folders[0] / "one.csv", folders[1] / "one.csv"), "--json") == 0
    assert json.loads(capsys.readouterr().out)["per_field"][0]["radius_px"] == 4.5
    assert call(folders, "--radius", "2", "--json") == 0
    assert {f["radius_px"] for f in json.loads(capsys.readouterr().out)["per_field"]} == {2}


def test_the_radius_is_half_the_diameter_that_was_counted_with(folders, capsys):
    for i, stem in enumerate(STEMS):
        file = folders[i % 2] / f"{stem}.csv"  # of whichever of the two it is known
        dots = read_dots(file)
        write_dots(file, dots, provenance=Provenance(diameter_px=8.0 + i))
    assert call(folders, "--json") == 0
    radii = {f["field"]: f["radius_px"] for f in json.loads(capsys.readouterr().out)["per_field"]}
    assert radii == {stem: 4 + i / 2 for i, stem in enumerate(STEMS)}
    assert call(folders) == 0
    assert "dots up to 4 to 6 px apart can be one cell (half the cell" in capsys.readouterr().err
    (folders[1] / "four.csv.json").unlink()
    assert call(folders) == 2
    assert f"not known of {folders[0] / 'four.csv'}: give --radius" in capsys.readouterr().err


def test_time_points_and_planes(tmp_path, capsys):
    t, yx = [0, 0, 1], [(1, 1), (30, 30), (1, 1)]
    write_dots(tmp_path / "a.csv", Dots.new(yx, t=t, z=[0, 1, 0]))
    write_dots(tmp_path / "b.csv", Dots.new(yx, t=t, z=[0, 2, 0]))
    both = (tmp_path / "a.csv", tmp_path / "b.csv")
    assert call(both, "--radius", "3", "--json") == 0
    out, err = capsys.readouterr()
    assert [(f["t"], f["matched"]) for f in json.loads(out)["per_field"]] == [(0, 1), (1, 1)]
    assert "independent" in err
    assert call(both, "--radius", "3", "--ignore-z", "--json") == 0
    assert json.loads(capsys.readouterr().out)["matched"] == 3


def test_each_region_is_a_field(folders, draw, capsys):
    regions = draw(
        "one",
        Region(SQUARE, "audit", "first"),
        Region(SQUARE + 50, "reviewed"),
        Region(SQUARE[:2], "audit", "a line"),
        Region(SQUARE * 0.2, "exclude"),
    )
    draw("two", Region(SQUARE, "tissue"))
    assert call(folders, "--radius", "3", "--regions", str(regions), "--json") == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert [(f["field"], f["region"]) for f in told["per_field"]] == [
        ("one", "first"), ("one", "region 2"),
    ]  # fmt: skip
    whole = Field("one", *(read_dots(f / "one.csv") for f in folders))
    part = Field("", whole.a, whole.b, polygon=SQUARE, exclude=[SQUARE * 0.2])
    assert told["per_field"][0]["matched"] == agreement([part], 3).matched
    assert told["without_regions"] == ["five", "four", "three", "two"]
    assert "no regions to compare: five, four, three, two." in err
    assert "overlap" not in err
    assert (
        call(folders, "--radius", "3", "--regions", str(regions), "--kind", "audit", "--json") == 0
    )
    assert [f["region"] for f in json.loads(capsys.readouterr().out)["per_field"]] == ["first"]


def test_regions_may_lie_beside_the_dots(folders, capsys):
    write_regions(folders[0] / "one.geojson", [Region(SQUARE, "audit")])
    assert call(folders, "--radius", "3", "--regions", str(folders[0]), "--json") == 0
    assert json.loads(capsys.readouterr().out)["fields"] == 1


def test_what_regions_make_doubtful_is_said(folders, draw, capsys):
    regions = draw("one", Region(SQUARE * 2, "audit"), Region(SQUARE * 2, "reviewed"))
    draw("two", Region(SQUARE, "audit", "late", t=3))
    assert call(folders, "--radius", "3", "--regions", str(regions)) == 0
    err = capsys.readouterr().err
    assert "Regions overlap" in err
    assert "in one.\n" in err
    assert "other planes than these regions, which so seem empty: late of two." in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("anna", "ben"), "give --radius"),
        (("anna", "ben", "--radius", "0"), "radius of 0.0 px"),
        (("anna", "nobody", "--radius", "3"), "nobody does not exist"),
        (("anna/one.csv", "nobody.csv", "--radius", "3"), "nobody.csv does not exist"),
        (("anna/six.csv", "ben", "--radius", "3"), "no file of dots in"),
        (("anna", "empty", "--radius", "3"), "has no file of dots"),
        (("anna", "twice", "--radius", "3"), "both one.CSV and one.csv"),
        (("anna", "broken", "--radius", "3"), "row 1 (line 2)"),
        (("anna", "ben", "--radius", "3", "--kind", "audit"), "--regions"),
        (("anna", "ben", "--radius", "3", "--kind", "tissue"), "unknown kind of region 'tissue'"),
        (("anna", "ben", "--radius", "3", "--regions", "nowhere"), "does not exist"),
        (("anna", "ben", "--radius", "3", "--regions", "anna/one.csv"), "is a file"),
        (("anna", "ben", "--radius", "3", "--regions", "empty"), "has no regions to compare"),
        (("anna", "ben", "--radius", "3", "--out", "anna/one.csv"), "cannot be written to"),
    ],
)
def test_one_sentence_where_it_cannot_be(folders, monkeypatch, capsys, arguments, words):
    home = folders[0].parent
    monkeypatch.chdir(home)
    (home / "empty").mkdir()
    for name, content in (("broken", "y,x\n1,many\n"), ("twice", "y,x\n1,2\n")):
        (home / name).mkdir()
        (home / name / "one.csv").write_text(content)
    (home / "twice" / "one.CSV").write_text("y,x\n1,2\n")
    before = sorted(home.rglob("*"))
    assert run(["agree", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert words in err
    assert sorted(home.rglob("*")) == before


def test_help_has_an_example(capsys):
    assert run(["agree", "--help"]) == 0
    assert "Example: celltally agree" in capsys.readouterr().out


def test_the_example_of_the_docs(tmp_path, capsys):
    """Dots made from its two tables give the third, line by line."""
    text = (Path(__file__).parents[1] / "docs" / "agreement.md").read_text(encoding="utf-8")
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    fields = [list(map(int, line)) for line in lines if len(line) == 6 and line[0].isdigit()]
    given = [list(map(int, line[1:])) for line in lines if line[0].startswith("Anna: ")]
    wanted = lines[lines.index(["figure", "value"]) + 2 :]
    wanted = wanted[: wanted.index([""])]
    assert (len(fields), len(wanted)) == (6, 14)

    names = ("dead", "live")
    pairs = [(a, b) for i, a in enumerate(names) for j, b in enumerate(names)
             for _ in range(given[i][j])]  # fmt: skip
    for who in ("anna", "ben"):
        (tmp_path / who).mkdir()
    for number, count_a, count_b, matched, only_a, only_b in fields:
        here, pairs = pairs[:matched], pairs[matched:]
        yx = [(20.0 * i, 0.0) for i in range(matched + only_a + only_b)]
        a = Dots.new(yx[: matched + only_a], label=[x for x, _ in here] + ["live"] * only_a)
        b = Dots.new(
            yx[:matched] + yx[matched + only_a :], label=[y for _, y in here] + ["live"] * only_b
        )
        assert (len(a), len(b)) == (count_a, count_b)
        write_dots(tmp_path / "anna" / f"{number}.csv", a)
        write_dots(tmp_path / "ben" / f"{number}.csv", b)
    assert pairs == []
    assert call((tmp_path / "anna", tmp_path / "ben"), "--radius", "6") == 0
    told = [line.split("\t") for line in capsys.readouterr().out.splitlines()[1:]]
    assert [line for line in told if line[0] != "mean distance of matched dots"] == wanted
