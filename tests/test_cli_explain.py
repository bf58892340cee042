"""``celltally explain``: its files, its sentences, and what it leaves when it fails."""

import json
import re

import imageio.v3 as imageio
import numpy as np
import pandas as pd
import pytest

from celltally.cli import run
from celltally.io import read_image, select_pixels
from celltally.model import Model
from celltally.networks import build
from celltally.predict import predict

FILES = ["boxes.csv", "contributions.csv", "gallery.png"]


@pytest.fixture
def model(tiny_model, tmp_path):
    return tiny_model.save(tmp_path / "tiny")


@pytest.fixture
def picture(tmp_path, draw_cells, scatter):
    path, rng = tmp_path / "field.png", np.random.default_rng(0)
    imageio.imwrite(path, draw_cells(scatter(20, (90, 110), rng), (90, 110), rng=rng))
    return path


@pytest.fixture
def explain(model, picture, tmp_path):
    def explain(*arguments, image=picture, out=tmp_path / "why"):
        settings = ("--model", model.record.path, "--out", out, "--diameter", 12)
        return run(["explain", *map(str, (image, *settings, *arguments))])

    return explain


def sentence(capsys):
    output = capsys.readouterr()
    (line,) = output.err.strip().splitlines()
    assert output.out == ""
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")


def test_three_files_that_add_up(explain, model, picture, tmp_path, capsys):
    assert explain("--at", "20,30.5", "--at", "89,0") == 0
    out = tmp_path / "why"
    assert sorted(path.name for path in out.iterdir()) == FILES
    counted = predict(model, select_pixels(read_image(picture)), diameter_px=12.0)
    boxes = pd.read_csv(out / "boxes.csv")
    assert list(boxes.columns) == ["prototype", "kind", "y0", "x0", "y1", "x1", "similarity"]
    assert len(boxes)
    assert (boxes["y0"] < boxes["y1"]).all()
    assert set(boxes["kind"]) <= {"cell", "background"}
    parts = pd.read_csv(out / "contributions.csv")
    assert list(parts.columns[:4]) == ["prototype", "kind", "weight", "contribution"]
    assert parts["kind"].tolist() == ["cell"] * 2 + ["background"] * 2 + ["bias"]
    assert parts["contribution"].sum() == pytest.approx(
        counted.density.sum(dtype=float), rel=1e-4, abs=1e-3
    )
    assert parts["at_20_30.5"].sum() == pytest.approx(
        counted.density[0, 10, 15], rel=1e-3, abs=1e-5
    )
    assert parts["at_89_0"].sum() == pytest.approx(counted.density[0, 44, 0], rel=1e-3, abs=1e-5)
    assert imageio.imread(out / "gallery.png").shape[0] > 100
    assert "p3\tbackground" in capsys.readouterr().out


def test_json_says_the_same(explain, tmp_path, capsys):
    assert explain("--json", "--at", "20,30") == 0
    told = json.loads(capsys.readouterr().out)
    parts = pd.read_csv(tmp_path / "why" / "contributions.csv")
    assert [p["contribution"] for p in told["prototypes"]] == parts["contribution"].tolist()[:-1]
    assert told["bias"] == parts["contribution"].iloc[-1]
    total = parts["contribution"].sum()
    assert told["count"] == pytest.approx(max(total, 0.0))
    assert told["at"][0]["density"] == pytest.approx(parts["at_20_30"].sum())
    assert sum(p["boxes"] for p in told["prototypes"]) == len(
        pd.read_csv(tmp_path / "why" / "boxes.csv")
    )


def test_its_own_files_are_replaced(explain, tmp_path):
    assert explain() == 0
    before = (tmp_path / "why" / "contributions.csv").read_bytes()
    assert explain("--at", "3,4") == 0
    assert (tmp_path / "why" / "contributions.csv").read_bytes() != before


@pytest.mark.parametrize("name", FILES)
def test_files_of_others_are_not(name, explain, tmp_path, capsys):
    out = tmp_path / "why"
    out.mkdir()
    content = imageio.imwrite("<bytes>", np.zeros((9, 9), np.uint8), extension=".png")
    (out / name).write_bytes(content if name.endswith("png") else b"image,count\na.png,3\n")
    before = (out / name).read_bytes()
    assert explain() == 2
    assert re.search(rf"{name} exists and was not written by explaining", sentence(capsys))
    assert [path.name for path in out.iterdir()] == [name]
    assert (out / name).read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--at", "12"], "--at 12 is no place: give y,x in pixels"),
        (["--at", "a,b"], "is no place"),
        (["--at", "20,500"], "outside the image of 110 × 90 px"),
        (["--plane", "q=1"], "a plane cannot be chosen"),
        (["--channel", "7"], "channel"),
        (["--diameter", "-1"], "-1"),
        (["--device", "abacus"], "abacus"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(arguments, words, explain, tmp_path, capsys):
    assert explain(*arguments) == 2
    assert words in sentence(capsys)
    assert not (tmp_path / "why").exists()


def test_an_image_that_is_not_there(explain, tmp_path, capsys):
    assert explain(image=tmp_path / "gone.png") == 2
    assert "there is no image" in sentence(capsys)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    assert explain(image=tmp_path / "bad.png", out=tmp_path / "new" / "why") == 2
    assert "bad.png" in sentence(capsys)
    assert not (tmp_path / "new").exists()


def test_nothing_is_half_written(explain, tmp_path, capsys, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("celltally.explain.gallery.write_gallery", full)
    assert explain() == 2
    assert "no space left" in sentence(capsys)
    assert not (tmp_path / "why").exists()


def test_ctrl_c_writes_nothing(explain, tmp_path, capsys, monkeypatch):
    def stopped(*args, **kwargs):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr("celltally.explain.overview.iter_overview", stopped)
    assert explain() == 130
    assert "nothing was written" in capsys.readouterr().err
    assert not (tmp_path / "why").exists()


def test_a_model_without_prototypes(tiny_config, picture, tmp_path, capsys):
    del tiny_config["prototypes"]
    plain = Model.from_network(build("tally_plain", tiny_config), name="plain", diameter_px=12.0)
    plain.save(tmp_path / "plain")
    out = tmp_path / "why"
    arguments = ["explain", picture, "--model", tmp_path / "plain", "--out", out]
    assert run(list(map(str, arguments))) == 2
    assert "'plain' has no prototypes" in sentence(capsys)
    assert not out.exists()


def test_a_blank_image_has_no_boxes_and_says_so(explain, tmp_path, capsys):
    imageio.imwrite(tmp_path / "blank.png", np.full((60, 70), 9, np.uint8))
    assert explain(image=tmp_path / "blank.png") == 0
    assert "there are no boxes" in capsys.readouterr().err
    assert len(pd.read_csv(tmp_path / "why" / "boxes.csv")) == 0
    assert pd.read_csv(tmp_path / "why" / "contributions.csv")["contribution"].sum() == 0


def test_without_matplotlib_the_tables_are_there(explain, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    assert explain() == 0
    assert "matplotlib is missing" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "why").iterdir()) == FILES[:2]
