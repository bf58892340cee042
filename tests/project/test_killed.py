"""A program that is killed at any moment has lost nothing that it said was saved."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

import pytest

from celltally.project.store import Store
from celltally.project.work import load_work

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def killing(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setenv("PYTHONPATH", str(BENCHMARKS))
    return import_module("project_lib.killing")


def test_single_edits(killing, path):
    found = killing.kill_edits(path, 0, 60, kills=3)
    assert found == sorted(found)


def test_bulk_edits_are_done_or_not_done(killing, path):
    killing.kill_edits(path, 3, 3, kills=2, size=5000, spread=0.2)


def test_predictions_with_their_maps(killing, path):
    killing.kill_predictions(path, 0, 3, kills=2)


def test_the_making_of_a_file(killing, path):
    killing.kill_creation(path, 0, kills=2, spread=0.08)


def test_a_migration(killing, path):
    killing.kill_migration(path, 0, kills=2, spread=0.08)


def test_what_is_lost_is_noticed(killing, path):
    """The checks above can fail."""
    scripted = import_module("project_lib.scripted")
    killed = killing.run("edits", path, 5, 12)
    assert (killed.acknowledged, killed.finished) == (12, True)
    killing.check_edits(path, killing.Replay(5), 12)
    with pytest.raises(killing.LostError, match="13 edits were acknowledged, 12 are there"):
        killing.check_edits(path, killing.Replay(5), 13)
    with pytest.raises(killing.LostError, match="10 edits were acknowledged, 12 are there"):
        killing.check_edits(path, killing.Replay(5), 10)
    with pytest.raises(killing.LostError, match="are not those that were made"):
        killing.check_edits(path, killing.Replay(6), 12)
    with Store(path) as store:
        number = scripted.image_of(store)
        assert scripted.steps_of(store, number) == 12
        assert load_work(store, number).undoable is not None
