"""A full disk is told, loses nothing, and the same can be saved once there is room."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from celltally.errors import UserError
from celltally.project import schema
from celltally.project.counts import add_prediction, latest_counts, load_prediction
from celltally.project.edits import Edit, Work, diff_dots
from celltally.project.images import all_images, register
from celltally.project.store import Store
from celltally.project.work import load_work, record
from celltally.types import Dots, Grid, Interval, Prediction

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
FULL = "the disk is full: study.celltally could not be written; free some space and try again"


@contextmanager
def no_more_pages(store, spare=3):
    """SQLite takes its file to be unable to grow, by more than some pages."""

    def limit(pages):
        with store.read() as connection:
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    with store.read() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    limit(pages + spare)
    yield
    limit(2**30)


@contextmanager
def no_larger_files(spare):
    """The system lets this process write no file that is larger than so many bytes."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (spare, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def add(work, dots) -> Edit:
    return Edit("add", diff_dots(Dots.new(), dots))


def record_until_refused(store, image_id, work, dots) -> Edit:
    """Record edits until one is refused, and return that."""
    for i in range(10_000):
        edit = add(work, dots(20, seed=i))
        try:
            record(store, image_id, edit)
        except UserError as error:
            record_until_refused.said = str(error)
            return edit
        work.do(edit)
    raise AssertionError("nothing was refused")


@pytest.fixture
def same(store, image_id, told):
    def check(work):
        loaded = load_work(store, image_id)
        assert told(loaded.dots, loaded.regions) == told(work.dots, work.regions)
        assert loaded._done == work._done
        assert store.check() == []

    return check


def test_no_more_pages(store, image_id, dots, same):
    work = Work()
    with no_more_pages(store):
        refused = record_until_refused(store, image_id, work, dots)
        assert work.undoable is not None
        same(work)
        for _ in range(20):  # connections are given back, whatever happens
            with pytest.raises(UserError, match=FULL):
                record(store, image_id, refused)
        with pytest.raises(UserError, match=FULL):
            record(store, image_id, add(work, dots(5000)))
        same(work)
        assert len(all_images(store)) == 1
    record(store, image_id, work.do(refused))
    same(work)


@pytest.mark.skipif(os.name == "nt", reason="there is no such limit")
@pytest.mark.parametrize("shared", [False, True])
def test_no_larger_files(path, dots, monkeypatch, shared, told):
    monkeypatch.setattr("celltally.project.store.on_network_share", lambda _: shared)
    with Store(path) as store:
        number = register(store, name="a")
        work = Work()
        with no_larger_files(400_000):
            refused = record_until_refused(store, number, work, dots)
            said = record_until_refused.said
            assert "study.celltally could not be written" in said
            assert "room" in said or "space" in said
            assert work.undoable is not None
            loaded = load_work(store, number)
            assert told(loaded.dots, ()) == told(work.dots, ())
            assert store.check() == []
        record(store, number, work.do(refused))
    with Store(path) as store:
        loaded = load_work(store, number)
        assert told(loaded.dots, ()) == told(work.dots, ())
        assert loaded._done == work._done
        assert store.check() == []


def test_a_count_with_its_maps(store, image_id, dots):
    density = np.random.default_rng(0).random((1, 300, 300)).astype(np.float32)
    made = Prediction(density, density, Grid((300, 300)), (300, 300), 12.0, "m", "f" * 64)
    interval = Interval(1.0, 2.0, 0.95, "calibrated")
    first = add_prediction(store, image_id, made, interval, dots(9), threshold=0.5)
    larger = replace(made, density=np.concatenate([density] * 3), variance=density)
    with no_more_pages(store), pytest.raises(UserError, match=FULL):
        add_prediction(store, image_id, larger, interval, dots(9), threshold=0.5)
    (count,) = latest_counts(store)
    assert count.id == first
    assert load_prediction(store, count) is not None  # its maps made no room for nothing
    assert store.check() == []
    add_prediction(store, image_id, larger, interval, dots(9), threshold=0.5)
    assert latest_counts(store)[0].count == larger.count


@pytest.mark.skipif(os.name == "nt", reason="there is no such limit")
@pytest.mark.parametrize("spare", [1, 1000, 20_000])
def test_a_new_project(path, spare):
    with no_larger_files(spare), pytest.raises(UserError, match=r"room|space"):
        Store(path)
    with Store(path) as store:  # nothing half made is in its way
        assert all_images(store) == []
        assert store.check() == []


@pytest.mark.skipif(os.name == "nt", reason="there is no such limit")
def test_without_room_for_a_copy_a_project_is_not_migrated(path, monkeypatch):
    with Store(path) as store, store.write() as connection:
        rows = [{"name": "x" * 50, "added": "now"} for _ in range(2000)]
        connection.execute(schema.images.insert(), rows)
    version = schema.VERSION
    monkeypatch.setattr(schema, "VERSION", version + 1)
    monkeypatch.setattr(schema, "MIGRATIONS", {version: lambda _: None})
    with no_larger_files(100_000), pytest.raises(UserError, match=r"room|space"):
        Store(path)
    left = {p.name for p in path.parent.iterdir()}
    assert not {name for name in left if "bak" in name}
    monkeypatch.undo()
    with Store(path) as store:
        assert len(all_images(store)) == 2000
        assert store.check() == []


@pytest.mark.parametrize("leave", [0, 30_000])
def test_a_disk_that_is_really_full(monkeypatch, leave):
    monkeypatch.syspath_prepend(BENCHMARKS)
    filling = import_module("project_lib.filling")
    try:
        disk = filling.small_disk()
        folder = disk.__enter__()
    except OSError as error:
        pytest.skip(str(error))
    try:
        found = filling.full_disk(folder, leave, leave)
    finally:
        disk.__exit__(None, None, None)
    assert found["edits before"] >= 20
    assert found["told"] == FULL
