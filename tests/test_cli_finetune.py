"""``celltally finetune``, ``new-model`` and ``project finetune``: what goes in and comes out."""

from __future__ import annotations

import json
import re
import signal
import sys
from dataclasses import replace

import imageio.v3 as iio
import numpy as np
import pytest

from celltally import zoo
from celltally.cli import run
from celltally.io import write_regions
from celltally.learn import finetune as finetune_module
from celltally.learn import new_model as new_model_module
from celltally.learn.outcome import Compared, FineTuned, RegionCounts
from celltally.model import Model
from celltally.project.edits import Edit, diff_dots, diff_regions
from celltally.project.images import all_images
from celltally.project.store import Store
from celltally.project.work import record
from celltally.record import Learned
from celltally.types import Dots, Progress, Region

COMPARED = (
    Compared("kept back", (RegionCounts("a.png", "g/a", "r1", 10, 14.25, 11.5),)),
    Compared("audit", (RegionCounts("b.png", "g/b", "r2", 8, 3, 8.04),)),
)
SENTENCES = ("It helped.", "Few regions judge.")
LEARNED = Learned(
    project="study", by=("Grace",), date="2026-01-01T10:00Z", images=3, regions=4, stated=1,
    excluded=0, dots=30, corrected=5, kept_back=1, audits=1, helped=True,
    metrics={"mae_before": 4.25, "mae_after": 1.5}, new_prototypes=(4,),
)  # fmt: skip


@pytest.fixture(autouse=True)
def _own_models(tiny, monkeypatch):
    monkeypatch.setattr(zoo, "user_models_dir", lambda: tiny.parent)
    monkeypatch.setattr(zoo, "shipped_models_dir", lambda: tiny.parent / "none")


@pytest.fixture
def reviewed(dataset_folder):
    """A data set of which a part of one image was reviewed."""
    folder = dataset_folder("cells", [4, 6, 3])
    (folder / "regions").mkdir()
    corners = np.array([(0, 0), (0, 40), (40, 40), (40, 0)])
    write_regions(folder / "regions" / "cells-0.geojson", [Region(corners, "reviewed")])
    return folder


@pytest.fixture
def asked(monkeypatch, tiny_model):
    """Both jobs, which only note what they were asked for and give back a model."""
    asked: dict[str, object] = {}

    def job(kind):
        def start(*arguments, **options):
            asked.update(options, kind=kind, arguments=arguments)
            for step in range(1, 4):
                yield Progress(step, 3, "learning", {"loss": 1.0, "val_loss": 2.0})
                if asked.get("stop_at") == step:
                    signal.raise_signal(signal.SIGINT)
                if asked.get("break_at") == step:
                    raise RuntimeError("a defect of ours")
            asked["finished"] = True
            made = replace(tiny_model, record=replace(tiny_model.record, learned=LEARNED))
            return FineTuned(made, asked.get("compared", COMPARED), True, SENTENCES)

        return start

    monkeypatch.setattr(finetune_module, "iter_finetune", job("finetune"))
    monkeypatch.setattr(new_model_module, "iter_new_model", job("new"))
    return asked


@pytest.fixture
def study(tmp_path, draw_cells):
    """A project of three images, a region of each reviewed by somebody."""
    folder = tmp_path / "fields"
    folder.mkdir()
    path = tmp_path / "study.celltally"
    assert run(["project", "new", str(path)]) == 0
    cells = [(15, 15), (40, 50), (20, 60)]
    for i in range(3):
        iio.imwrite(folder / f"f{i}.png", draw_cells(cells[: i + 1], (64, 72)))
    assert run(["project", "add", str(path), str(folder)]) == 0
    corners = np.array([(-1, -1), (-1, 72), (64, 72), (64, -1)])
    for i in range(3):
        with Store(path, author="Grace" if i else "Ada") as store:
            dots = Dots.new(cells[: i + 1], state="added", source="Grace")
            changes = diff_dots(Dots.new(), dots) + diff_regions((), [Region(corners, "reviewed")])
            record(store, all_images(store)[i].id, Edit("review", changes))
    return path


# ---- help ----


@pytest.mark.parametrize("command", ["finetune", "new-model", "project finetune"])
def test_help_has_an_example(command, capsys):
    assert run([*command.split(), "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert re.search(rf"Example: celltally {command} ", text)


# ---- what goes in ----


def test_a_model_learns_and_is_saved(asked, reviewed, tiny, tmp_path, capsys):
    out = tmp_path / "models" / "mine"
    before = {p: p.read_bytes() for p in tiny.rglob("*") if p.is_file()}

    options = ["--steps", "7", "--seed", "3", "--device", "cpu", "--sample", "Round things"]
    assert run(["finetune", "tiny", str(reviewed), "--out", str(out), *options]) == 0

    model, folders = asked["arguments"]
    assert model.sha256 == Model.load(tiny).sha256
    assert folders == [reviewed]
    names = ("kind", "name", "steps", "seconds", "seed", "device")
    assert [asked[name] for name in names] == ["finetune", "mine", 7, None, 3, "cpu"]
    saved = Model.load(out)
    assert (saved.name, saved.record.sample) == ("mine", "Round things")
    assert {p: p.read_bytes() for p in tiny.rglob("*") if p.is_file()} == before
    output = capsys.readouterr()
    assert output.out.splitlines() == [
        "image\tregion\tcounted\tbefore\tafter",
        "a.png\tkept back\t10.0\t14.2\t11.5",
        "b.png\taudit\t8.0\t3.0\t8.0",
    ]
    told = output.err.splitlines()
    assert told[-3:-1] == list(SENTENCES)
    assert told[-1] == f"Wrote {out} ({saved.sha256[:12]})."
    assert "learning · loss 1 · of the regions kept back 2" in output.err


def test_a_program_is_told_everything(asked, reviewed, tmp_path, capsys):
    out = tmp_path / "mine"
    assert run(["finetune", "tiny", str(reviewed), "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["sha256"] == Model.load(out).sha256
    assert told["path"] == str(out)
    assert told["helped"] is True
    assert told["firm"] is False  # of one region nothing is
    assert told["sentences"] == list(SENTENCES)
    assert [one["judge"] for one in told["compared"]] == ["kept back", "audit"]
    assert told["compared"][0]["mae_before"] == 4.25
    assert told["compared"][0]["regions"][0] == {
        "image": "a.png", "group": "g/a", "region": "r1", "counted": 10, "before": 14.25,
        "after": 11.5,
    }  # fmt: skip
    assert told["learned"]["by"] == ["Grace"]
    assert told["learned"]["corrected"] == 5
    assert told["learned"]["metrics"]["mae_after"] == 1.5


def test_without_judges_there_is_no_table(asked, reviewed, tmp_path, capsys):
    asked["compared"] = ()
    assert run(["finetune", "tiny", str(reviewed), "--out", str(tmp_path / "mine")]) == 0
    output = capsys.readouterr()
    assert output.out == ""
    assert SENTENCES[0] in output.err


def test_a_new_model_has_nothing_before_it(asked, reviewed, tmp_path, capsys):
    out = tmp_path / "mine"
    arguments = ["new-model", str(reviewed), "--out", str(out), "--sample", "Spores"]
    assert run(arguments) == 0
    names = ("kind", "arguments", "name", "sample", "start", "minutes", "steps")
    expected = ["new", ([reviewed],), "mine", "Spores", None, 5.0, None]
    assert [asked[name] for name in names] == expected
    assert capsys.readouterr().out.splitlines()[:2] == [
        "image\tregion\tcounted\tafter",
        "a.png\tkept back\t10.0\t11.5",
    ]
    assert Model.load(out).record.sample == "Spores"


def test_a_new_model_may_start_from_one(asked, reviewed, tiny, tmp_path, capsys):
    arguments = ["new-model", str(reviewed), "--out", str(tmp_path / "mine"), "--start", "tiny"]
    assert run([*arguments, "--minutes", "0.5", "--json"]) == 0
    assert asked["start"].sha256 == Model.load(tiny).sha256
    assert asked["minutes"] == 0.5
    told = json.loads(capsys.readouterr().out)
    assert told["compared"][0]["mae_before"] is None
    assert told["compared"][0]["regions"][0]["before"] is None
    assert told["compared"][0]["mae_after"] == 1.5


# ---- what is refused ----


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--steps", "0"], "0 steps"),
        (["--seconds", "0"], "0 seconds"),
        (["--seconds", "nan"], "nan seconds"),
        (["--seconds", "5", "--steps", "5"], "--seconds and --steps"),
        (["--seed", "-1"], "the seed -1"),
    ],
)
def test_a_wrong_budget_is_refused(asked, reviewed, study, tmp_path, capsys, options, words):
    out = tmp_path / "mine"
    capsys.readouterr()
    for start in (["finetune", "tiny", str(reviewed)], ["project", "finetune", str(study)]):
        assert run([*start, "--out", str(out), *options]) == 2
        assert words in capsys.readouterr().err
    assert "kind" not in asked
    assert not out.exists()


def test_a_new_models_budget_is_in_minutes(asked, reviewed, tmp_path, capsys):
    common = ["new-model", str(reviewed), "--out", str(tmp_path / "mine")]
    assert run([*common, "--minutes", "-1"]) == 2
    assert "-1 minutes" in capsys.readouterr().err
    assert run([*common, "--minutes", "1", "--steps", "2"]) == 2
    assert "--minutes and --steps" in capsys.readouterr().err
    assert "kind" not in asked


def test_a_place_that_is_taken_is_refused_before_anything_is_read(asked, study, tmp_path, capsys):
    out = tmp_path / "taken"
    out.mkdir()
    nothing = str(tmp_path / "nothing")
    capsys.readouterr()
    for start in (
        ["finetune", "tiny", nothing],
        ["new-model", nothing],
        ["project", "finetune", str(study)],
    ):
        assert run([*start, "--out", str(out)]) == 2
        assert f"{out} exists already" in capsys.readouterr().err
    assert "kind" not in asked
    assert not any(out.iterdir())


def test_wrong_models_and_data_are_refused(asked, reviewed, study, tmp_path, capsys):
    out = ["--out", str(tmp_path / "mine")]
    capsys.readouterr()
    for start, words in (
        (["finetune", "nosuch", str(reviewed)], "no model 'nosuch'"),
        (["new-model", str(reviewed), "--start", "nosuch"], "no model 'nosuch'"),
        (["project", "finetune", str(study), "--model", "nosuch"], "no model 'nosuch'"),
        (["finetune", "tiny", str(tmp_path / "nothing")], "does not exist"),
        (["new-model", str(tmp_path)], "is no data set folder"),
    ):
        assert run([*start, *out]) == 2
        assert words in capsys.readouterr().err
    assert "kind" not in asked


# ---- what ends early ----


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send")
@pytest.mark.parametrize("command", ["finetune", "new-model", "project"])
def test_ctrl_c_leaves_nothing(asked, reviewed, study, tmp_path, capsys, command):
    asked["stop_at"] = 2
    out = tmp_path / "models" / "mine"
    start = {
        "finetune": ["finetune", "tiny", str(reviewed)],
        "new-model": ["new-model", str(reviewed)],
        "project": ["project", "finetune", str(study), "--model", "tiny"],
    }[command]
    assert run([*start, "--out", str(out)]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "Stopped; nothing was written."
    assert not out.parent.exists()
    assert "finished" not in asked


def test_a_defect_leaves_nothing(asked, reviewed, tmp_path):
    asked["break_at"] = 2
    out = tmp_path / "models" / "mine"
    with pytest.raises(RuntimeError, match="a defect of ours"):
        run(["finetune", "tiny", str(reviewed), "--out", str(out)])
    assert not out.parent.exists()


# ---- a study ----


def test_a_study_teaches(asked, study, tmp_path, capsys):
    before = study.read_bytes()
    out = tmp_path / "mine"
    arguments = ["project", "finetune", str(study), "--model", "tiny", "--out", str(out)]
    assert run([*arguments, "--seconds", "3"]) == 0
    names = ("kind", "name", "project", "by", "seconds")
    assert [asked[name] for name in names] == ["finetune", "mine", "study", ["Ada", "Grace"], 3.0]
    _, (folder,) = asked["arguments"]
    assert not folder.exists()
    assert Model.load(out).record.learned == LEARNED
    assert study.read_bytes() == before


def test_a_study_with_a_missing_image_teaches_with_the_others(asked, study, tmp_path, capsys):
    (tmp_path / "fields" / "f0.png").unlink()
    out = tmp_path / "mine"
    common = ["project", "finetune", str(study), "--model", "tiny", "--out", str(out)]
    assert run(common) == 1
    assert "f0.png is missing" in capsys.readouterr().err
    assert out.exists()


# ---- the real thing ----


def test_a_study_really_teaches(study, tiny, tmp_path, capsys):
    out = tmp_path / "mine"
    arguments = ["project", "finetune", str(study), "--model", "tiny", "--out", str(out)]
    assert run([*arguments, "--steps", "2", "--device", "cpu", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    child, parent = Model.load(out), Model.load(tiny)
    assert told["sha256"] == child.sha256 != parent.sha256
    assert told["parent"] == parent.sha256
    assert told["learned"]["by"] == ["Ada", "Grace"]
    assert told["learned"]["kept_back"] == 1
    assert [one["judge"] for one in told["compared"]] == ["kept back"]
    assert child.base is not None
    assert child.base.sha256 == parent.sha256


def test_a_new_model_really_learns(reviewed, tiny, tmp_path, capsys):
    out = tmp_path / "mine"
    arguments = ["new-model", str(reviewed), "--out", str(out), "--start", "tiny"]
    assert run([*arguments, "--steps", "2", "--device", "cpu"]) == 0
    child = Model.load(out)
    assert child.base is None
    assert child.sha256 != Model.load(tiny).sha256
    assert f"Wrote {out}" in capsys.readouterr().err
