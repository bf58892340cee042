"""The log, as a person reads it."""

from __future__ import annotations

from celltally.project.edits import Edit, Work, diff_dots
from celltally.project.history import history, people
from celltally.project.images import register
from celltally.project.work import record
from celltally.types import Dots


def test_the_log_tells_who_did_what(store, image_id):
    other = register(store, name="other.tif")
    work = Work()
    edit = work.do(Edit("add", diff_dots(Dots.new(), Dots.new([(1, 1), (2, 2)]))))
    record(store, image_id, edit)
    record(store, image_id, work.undo(), author="Grace")
    record(store, other, Edit("count", (), "system"), author="robot", detail={"model": "m"})
    record(store, None, Edit("plate map", (), "system"))
    entries = history(store)
    assert [(e.author, e.image, e.what, e.changes) for e in entries] == [
        ("Ada", "cells.tif", "add", 2),
        ("Grace", "cells.tif", "undo of add", 2),
        ("robot", "other.tif", "count", 0),
        ("Ada", "", "plate map", 0),
    ]
    assert entries[2].detail == {"model": "m"}
    assert [e.seq for e in history(store, image_id)] == [entries[0].seq, entries[1].seq]
    assert history(store, last=2) == entries[2:]
    assert people(store) == ["Ada", "Grace"]
