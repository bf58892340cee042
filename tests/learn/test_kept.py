"""A child that was kept: what a kill leaves of it, and how it does without its parent."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import imageio.v3 as imageio
import numpy as np
import pandas as pd
import pytest
import tifffile

from celltally import zoo
from celltally.appearance import APPEARANCE
from celltally.batch import iter_count, read_counts
from celltally.cli import run
from celltally.errors import UserError
from celltally.intervals import known_appearances
from celltally.learn.finetune import iter_finetune
from celltally.model import Model
from celltally.predict import predict, scaled_for
from celltally.progress import drain
from celltally.types import Calibration

CALIBRATION = Calibration(1.0, 0.0, 4.0, tuple(np.linspace(0, 2, 40)), 40, 40, "2024-01-01")


@pytest.fixture(autouse=True)
def own_models(tmp_path, monkeypatch):
    """Place of the user's own models; there are no others."""
    place = tmp_path / "models"
    monkeypatch.setattr(zoo, "user_models_dir", lambda: place)
    monkeypatch.setattr(zoo, "shipped_models_dir", lambda: tmp_path / "none")
    return place


@pytest.fixture
def known(tmp_path, rehearsing):
    """Images that the parent knows: bright cells on a dark ground."""
    return [imageio.imread(path) for path in sorted((tmp_path / "older" / "images").iterdir())]


@pytest.fixture
def parent(rehearsing, known, own_models):
    """A model among the user's own that knows bright cells."""
    shown = [scaled_for(rehearsing, image, 12.0)[0].appearance for image in known]
    looks = known_appearances(shown, list(map(str, range(len(shown)))), APPEARANCE)
    model = rehearsing.with_calibration(replace(CALIBRATION, appearances=looks))
    return model.save(own_models / "older")


@pytest.fixture
def own(reviewed_folder):
    """A data set of dark cells on a bright ground, which the parent does not know."""
    folder = reviewed_folder([5, 6])
    for path in (folder / "images").iterdir():
        imageio.imwrite(path, 255 - imageio.imread(path))
    return folder


@pytest.fixture
def child(parent, own):
    """What the parent became, not kept yet."""
    return drain(iter_finetune(parent, [own], name="mine", steps=2, device="cpu")).model


# ---- a program that is killed -----------------------------------------------

#: Saves a model into one place after the other, and kills itself at the first, second, third …
#: thing that it does to the disk, until a save comes through.
_KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from celltally.model import Model

model, before, places = Model.load(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir"}
left = None

def watch(event, arguments):
    global left
    if left is None:
        return
    if event in CHANGES or (event == "open" and arguments[2] & os.O_ACCMODE != os.O_RDONLY):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(watch)
for steps in range(1000):
    place = places / str(steps)
    shutil.copytree(before, place)
    process = os.fork()
    if process == 0:
        left = steps
        model.save(place / "mine")
        os._exit(0)
    if os.waitpid(process, 0)[1] == 0:
        break
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
@pytest.mark.parametrize("replaces", [False, True])
def test_a_kill_while_a_child_is_kept_leaves_whole_models_only(
    parent, child, own_models, tmp_path, monkeypatch, replaces
):
    """At whatever it does to the disk it is killed: the list has no half model in it."""
    if replaces:
        parent.save(own_models / "mine")
    child.save(tmp_path / "new")
    (tmp_path / "killed").mkdir()
    command = [sys.executable, "-c", _KILLED, tmp_path / "new", own_models, tmp_path / "killed"]
    assert subprocess.run(list(map(str, command)), check=False, timeout=300).returncode == 0

    places = sorted((tmp_path / "killed").iterdir(), key=lambda place: int(place.name))
    assert len(places) > 20
    kept = []
    for place in places:
        monkeypatch.setattr(zoo, "user_models_dir", lambda place=place: place)
        found = {record.name: record.sha256 for record in zoo.available()}
        assert found.pop("older") == parent.sha256
        kept.append(found.pop("mine", None))
        assert not found
        if kept[-1] is not None:
            assert zoo.load("mine").sha256 == kept[-1]
    before = parent.sha256 if replaces else None
    new = kept.index(child.sha256)
    assert kept == [before] * new + [child.sha256] * (len(kept) - new)
    # The next one who keeps a model there is not hindered.
    assert child.save(places[0] / "mine").sha256 == child.sha256


# ---- a parent that is gone --------------------------------------------------


@pytest.fixture
def orphan(parent, child, own_models):
    """The child, read from the disk after its parent was deleted there."""
    child.save(own_models / "mine")
    shutil.rmtree(own_models / "older")
    return Model.load(own_models / "mine")


def test_a_child_counts_without_its_parent(parent, child, orphan, known, own):
    assert orphan.sha256 == child.sha256
    assert orphan.base.sha256 == parent.sha256
    theirs, mine = known[0], imageio.imread(own / "images" / "cells-0.png")
    for pixels, model in ((theirs, parent), (mine, child)):
        counted = predict(orphan, pixels, diameter_px=12.0, device="cpu")
        same = predict(model, pixels, diameter_px=12.0, device="cpu")
        np.testing.assert_array_equal(counted.density, same.density)
        assert counted.calibration == same.calibration


def test_a_child_learns_without_its_parent(orphan, own):
    grandchild = drain(iter_finetune(orphan, [own], name="next", steps=2, device="cpu")).model
    assert grandchild.record.parent == orphan.sha256
    assert grandchild.base.sha256 == orphan.base.sha256


def test_the_tree_says_that_the_parent_is_gone(parent, orphan, capsys):
    assert run(["models", "--tree"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("older\t")
    assert first.endswith("\tno longer there")
    assert second.startswith("  mine\t")
    assert run(["models", "--tree", "--json"]) == 0
    (root,) = json.loads(capsys.readouterr().out)
    assert (root["there"], root["path"], root["sha256"]) == (False, None, parent.sha256)


def test_going_back_to_a_parent_that_is_gone_is_refused_in_a_sentence(parent, orphan):
    """By its name as by the folder that a list still knows."""
    for older in ("older", parent.record.path):
        with pytest.raises(UserError, match=r"no model '.*older'; give one of these names: mine"):
            zoo.load(older)


# ---- a film of which a part looks otherwise ---------------------------------


def test_every_time_point_of_a_film_says_which_model_counted_it(
    child, parent, known, own, tmp_path
):
    """Planes are judged by their own looks: a child and its base may share a film."""
    mine = imageio.imread(own / "images" / "cells-0.png")
    film = np.stack([mine, known[0], mine])[:, None]
    path, out = tmp_path / "film.tif", tmp_path / "counts.csv"
    tifffile.imwrite(path, film, imagej=True, metadata={"axes": "TZYX"})
    job = iter_count(
        [path], model=child.save(tmp_path / "mine").record.path, out=out, diameter_px=12.0,
        device="cpu", plane={"t": slice(None)},
    )  # fmt: skip
    drain(job)
    table = pd.DataFrame(read_counts(out))
    theirs, ours = parent.calibration_sha256, child.calibration_sha256
    assert list(table["calibration_sha256"]) == [ours, theirs, ours]
    assert ["counted by 'older'" in text for text in table["message"]] == [False, True, False]
