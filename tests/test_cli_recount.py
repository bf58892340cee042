"""``celltally project recount``, and another model in a locked study."""

from __future__ import annotations

import json
import re

import imageio.v3 as iio
import pandas as pd
import pytest

from celltally import zoo
from celltally.cli import run
from celltally.project.counts import in_force, latest_counts
from celltally.project.recounts import RECOUNT
from celltally.project.store import Store
from celltally.project.study_lock import locked


@pytest.fixture(autouse=True)
def models(tmp_path, tiny, monkeypatch):
    """Two models of the user's: the tiny one, and another with other weights."""
    import torch

    from celltally.model import Model
    from celltally.networks import build

    torch.manual_seed(1)
    model = zoo.load(tiny)
    network = build("tally", dict(model.record.config))
    folder = tmp_path / "models"
    model.save(folder / "tiny")
    other = Model.from_network(network, name="other", diameter_px=12.0)
    other.save(folder / "other")
    monkeypatch.setattr(zoo, "user_models_dir", lambda: folder)
    monkeypatch.setattr(zoo, "shipped_models_dir", lambda: tmp_path / "none")


@pytest.fixture
def project(tmp_path, draw_cells, capsys):
    """Two images, counted and locked."""
    folder = tmp_path / "fields"
    folder.mkdir()
    for i, name in enumerate(("a", "b")):
        iio.imwrite(folder / f"{name}.png", draw_cells([(15, 15), (40, 50)][: 1 + i], (64, 72)))
    path = tmp_path / "study.celltally"
    for command in (
        ["new", path],
        ["add", path, folder],
        ["count", path, "--model", "tiny", "--device", "cpu"],
        ["lock", path],
    ):
        assert run(["project", *map(str, command)]) == 0
    capsys.readouterr()
    return path


@pytest.fixture
def celltally(project, capsys):
    """Run a sub-command: status, what it printed, what it said."""

    def call(command: str, *arguments: object) -> tuple[int, str, str]:
        status = run(["project", command, str(project), *map(str, arguments)])
        output = capsys.readouterr()
        return status, output.out, output.err

    return call


def models_in_force(path):
    with Store(path, read_only=True) as store:
        return {c.model for c in in_force(latest_counts(store))}


def test_another_model_is_refused_in_a_locked_study(celltally, project):
    status, _, said = celltally("count", "--model", "other", "--device", "cpu")
    assert status == 2
    assert re.search(r"study\.celltally is locked to tiny \(\w{8}\), and other", said)
    assert "--marked" in said
    assert "celltally project recount" in said
    assert models_in_force(project) == {"tiny"}


def test_counted_all_the_same_it_is_marked(celltally, project):
    status, _, said = celltally("count", "--model", "other", "--device", "cpu", "--marked")
    assert status == 0
    assert "what this counts is marked" in said
    assert models_in_force(project) == {"other"}
    assert celltally("table")[1].count("counted with another model (other)") == 2


def test_the_differences_are_shown_and_nothing_is_changed(celltally, project, tmp_path):
    status, printed, said = celltally("recount", "--model", "other", "--device", "cpu")
    assert status == 0
    assert "a.png" in printed
    assert printed.splitlines()[-1].startswith("all images\t2")
    assert re.search(r"Recounted 2 images with other \(\w{8}\); nothing of it is in force", said)
    assert "--use" in said
    assert models_in_force(project) == {"tiny"}
    out = tmp_path / "differences.csv"
    assert celltally("recount", "--model", "other", "--device", "cpu", "--out", out)[0] == 0
    table = pd.read_csv(out)
    assert sorted(table["image"]) == ["a.png", "b.png"]
    size = table["difference"].abs().tolist()
    assert size == sorted(size, reverse=True)
    assert (table["count_after"] - table["count_before"] - table["difference"]).abs().max() < 1e-6


def test_the_new_version_is_used(celltally, project):
    status, _, said = celltally("recount", "--model", "other", "--device", "cpu", "--use")
    assert status == 0
    assert "is in use: 2 images recounted. The study is locked to it." in said
    assert models_in_force(project) == {"other"}
    with Store(project, read_only=True) as store:
        assert locked(store).model == "other"
    actions = [entry["action"] for entry in json.loads(celltally("log", "--json")[1])]
    assert actions[-4:] == ["recount", "recount", "use new version", "lock study"]
    assert not list(project.parent.glob(f"*{RECOUNT}*"))
    assert celltally("count")[2].startswith("Counted 0 images with other")


def test_what_was_recounted_can_be_dropped(celltally, project):
    assert celltally("recount", "--leave")[2] == "Nothing was recounted.\n"
    celltally("recount", "--model", "other", "--device", "cpu")
    assert list(project.parent.glob(f"*{RECOUNT}"))
    assert celltally("recount", "--leave")[2] == "What was recounted is dropped.\n"
    assert not list(project.parent.glob(f"*{RECOUNT}*"))


def test_a_program_reads_the_differences(celltally):
    printed = celltally("recount", "--model", "other", "--device", "cpu", "--json")[1]
    found = json.loads(printed)
    assert {row["image"] for row in found["differences"]} == {"a.png", "b.png"}
    (total,) = found["totals"]
    assert total["difference"] == pytest.approx(total["after"] - total["before"])


def test_images_that_cannot_be_recounted_are_named(celltally, project):
    (project.parent / "fields" / "b.png").unlink()
    status, printed, said = celltally("recount", "--model", "other", "--device", "cpu")
    assert status == 1
    assert "b.png is missing" in said
    assert "not recounted" in printed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "name the model"),
        (["--model", "nosuch"], "nosuch"),
        (["--model", "other", "--out", "x.xlsx"], "ends in .csv"),
        (["--leave", "--model", "other"], "without other options"),
    ],
)
def test_wrong_options_are_refused(celltally, options, words):
    status, _, said = celltally("recount", *options)
    assert (status, said.count("\n")) == (2, 1)
    assert words in said
