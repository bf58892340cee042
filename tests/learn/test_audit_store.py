"""Answers survive whatever ends the program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from celltally.errors import UserError
from celltally.intervals import Audit
from celltally.learn.audit_store import AuditSession, AuditStore, store_path

SESSION = AuditSession("general", "ab", "cd", "/data/plate 3")


def audit(image: str = "a.tif", counted: float = 12.0) -> Audit:
    return Audit(
        image, image, 11.5, 0.25, counted, 90.0, 2.0, {"contrast": 1.5}, {"grain": 0.1}, False,
        ((-0.5, -0.5), (-0.5, 9.5), (9.5, 9.5), (9.5, -0.5)),
    )  # fmt: skip


def test_an_answer_is_there_for_the_next_program(tmp_path) -> None:
    store = AuditStore(tmp_path / "new" / "a.jsonl", SESSION)
    store.counted(audit(), 0, [(1.0, 2.5)], diameter_px=14.0)
    store.left_out("b.tif", 0, "out of focus")
    again = AuditStore(store.path, replace(SESSION, seed=7))
    assert again.audits == [audit()]
    assert again.session == store.session  # its seed, not another one
    assert store.session.seed > 0
    assert again.done == {("a.tif", 0), ("b.tif", 0)}
    assert again.answers[0]["dots"] == [[1.0, 2.5]]
    assert again.sha256 == store.sha256


def test_a_program_that_was_killed_loses_nothing_that_was_answered(tmp_path) -> None:
    path = tmp_path / "a.jsonl"
    code = f"""
import os, sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from celltally.intervals import Audit
from celltally.learn.audit_store import AuditSession, AuditStore
store = AuditStore(Path({str(path)!r}), AuditSession("general", "ab", "cd", "x"))
for i in range(3):
    store.counted(Audit(f"{{i}}.tif", "g", 1.0, 1.0, 2.0, 9.0, 1.0), 0)
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert [a.image for a in AuditStore(path, SESSION).audits] == ["0.tif", "1.tif", "2.tif"]


@pytest.mark.parametrize("cut", [1, 2, 40, 10_000])
def test_a_line_that_was_cut_off_is_dropped(tmp_path, cut) -> None:
    store = AuditStore(tmp_path / "a.jsonl", SESSION)
    store.counted(audit("a.tif"), 0)
    whole = store.path.read_bytes()
    store.counted(audit("b.tif"), 0)
    cut = min(cut, store.path.stat().st_size - len(whole))
    os.truncate(store.path, store.path.stat().st_size - cut)
    again = AuditStore(store.path, SESSION)
    assert [a.image for a in again.audits] == ["a.tif"]
    again.counted(audit("c.tif"), 0)
    assert [a.image for a in AuditStore(store.path, SESSION).audits] == ["a.tif", "c.tif"]
    assert store.path.read_bytes().startswith(whole)


def test_a_head_that_was_cut_off_begins_anew(tmp_path) -> None:
    (tmp_path / "a.jsonl").write_text('{"entry": "sess')
    store = AuditStore(tmp_path / "a.jsonl", SESSION)
    store.counted(audit(), 0)
    assert len(AuditStore(store.path, SESSION).audits) == 1


def test_a_changed_answer_replaces_the_first_and_keeps_it_on_disk(tmp_path) -> None:
    store = AuditStore(tmp_path / "a.jsonl", SESSION)
    store.counted(audit("a.tif", 12), 0)
    store.counted(audit("b.tif", 3), 0)
    store.counted(audit("a.tif", 13), 0)
    for one in (store, AuditStore(store.path, SESSION)):
        assert [(a.image, a.counted) for a in one.audits] == [("a.tif", 13), ("b.tif", 3)]
    assert len(store.path.read_text().splitlines()) == 4


def test_what_failed_is_tried_again_next_time(tmp_path) -> None:
    store = AuditStore(tmp_path / "a.jsonl", SESSION)
    store.failed("a.tif", "the disk is gone")
    assert store.unusable == {"a.tif": "the disk is gone"}
    assert store.done == set()
    assert AuditStore(store.path, SESSION).unusable == {}


def test_every_setting_has_a_file_of_its_own_but_seed_and_calibration() -> None:
    others = [{"model": "x"}, {"diameter_px": 9.0}, {"units": "wells"}, {"source": "/data/4"}]
    paths = {store_path(SESSION), *(store_path(replace(SESSION, **other)) for other in others)}
    assert len(paths) == 1 + len(others)
    for same in ({"seed": 5}, {"calibration_sha256": "ef"}):
        assert store_path(replace(SESSION, **same)) == store_path(SESSION)
    assert store_path(SESSION).name.startswith("plate-3-")


@pytest.mark.parametrize(
    ("name", "value"),
    [("counted", None), ("variance", "much"), ("group", 3), ("statistics", [1]),
     ("appearance", {"grain": "fine"})],
)  # fmt: skip
def test_an_answer_that_is_none_is_damage(tmp_path, name, value) -> None:
    store = AuditStore(tmp_path / "a.jsonl", SESSION)
    store.counted(audit(), 0)
    head, line = store.path.read_text().splitlines()
    store.path.write_text(f"{head}\n{json.dumps(json.loads(line) | {name: value})}\n")
    with pytest.raises(UserError, match="damaged in line 2"):
        AuditStore(store.path, SESSION)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not json\n", "damaged in line 1"),
        ('{"entry": "counted"}\n', "damaged in line 1"),
        ('{"entry": "session", "format": 1}\n', "tells no model"),
        ('{"entry": "session", "format": 9}\n', "has format 9"),
        (None, "damaged in line 2"),
    ],
)
def test_files_of_something_else(tmp_path, text, words) -> None:
    path = tmp_path / "a.jsonl"
    if text is None:
        text = AuditStore(path, SESSION).path.read_text() + "{}\n"
    path.write_text(text)
    with pytest.raises(UserError, match=words):
        AuditStore(path, SESSION)


def test_what_cannot_be_written_is_not_kept(tmp_path) -> None:
    store = AuditStore(tmp_path / "a.jsonl", SESSION)
    store.path.unlink()
    store.path.mkdir()
    with pytest.raises(UserError, match="cannot be saved to"):
        store.counted(audit(), 0)
    assert store.audits == []


def test_figures_that_do_not_exist_are_null(tmp_path) -> None:
    store = AuditStore(tmp_path / "a.jsonl", SESSION)
    store.left_out("a.tif", 0, "x")
    store.counted(replace(audit(), statistics={"noise": float("nan")}), 1)
    assert json.loads(store.path.read_text().splitlines()[-1])["statistics"] == {"noise": None}
    for one in (store, AuditStore(store.path, SESSION)):  # and no figures to calibrate with
        assert [a.statistics for a in one.audits] == [{}]
