"""The tables of a project file."""

from __future__ import annotations

import sqlite3

import pytest
import sqlalchemy as sa

from celltally.errors import UserError
from celltally.project import schema
from celltally.project.edits import Change, Edit
from celltally.project.work import log, record

DOT = {"y": 1.0, "x": 2.0, "t": 0, "z": 0, "class": "cell", "score": None, "state": "added",
       "source": "Ada"}  # fmt: skip


@pytest.fixture
def logged(store, image_id):
    record(store, image_id, Edit("add", (Change("dot", "a" * 32, None, DOT),)))
    return store


@pytest.mark.parametrize("table", ["steps", "changes"])
@pytest.mark.parametrize("deed", ["update", "delete"])
def test_the_log_only_grows(logged, image_id, table, deed):
    before = log(logged, image_id)
    row = getattr(schema.metadata.tables[table], deed)()
    if deed == "update":
        row = row.values(**{"action" if table == "steps" else "item_id": "other"})
    with (
        pytest.raises(UserError, match="the log of edits only grows"),
        logged.write() as connection,
    ):
        connection.execute(row)
    assert log(logged, image_id) == before


@pytest.mark.parametrize("table", ["steps", "changes"])
def test_the_log_is_safe_from_other_programs(logged, path, table):
    logged.close()
    connection = sqlite3.connect(path)
    column = "seq" if table == "steps" else "step_seq"
    for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET {column} = 5"):
        with pytest.raises(sqlite3.IntegrityError, match="the log of edits only grows"):
            connection.execute(statement)
    connection.close()


def test_a_file_says_whose_it_is(store):
    with store.read() as connection:
        owner = connection.exec_driver_sql("PRAGMA application_id").scalar()
        version = connection.exec_driver_sql("PRAGMA user_version").scalar()
    assert owner.to_bytes(4, "big") == b"CTLY"
    assert version == schema.VERSION


def test_every_version_has_its_migration():
    assert sorted(schema.MIGRATIONS) == list(range(1, schema.VERSION))


def test_nothing_belongs_to_an_image_that_is_not_there(store):
    tables = {
        name
        for name, table in schema.metadata.tables.items()
        if any(key.column.table is schema.images for key in table.foreign_keys)
    }
    assert tables == {"dots", "figures", "predictions", "regions", "steps"}
    edit = Edit("add", (Change("dot", "a" * 32, None, DOT),))
    with pytest.raises(UserError, match=r"contradicts what is in it; open it again"):
        record(store, 99, edit)
    assert log(store, 99) == []


def test_the_tables_are_those_of_their_version(store):
    """A change of them needs a higher version, a migration, and other names here."""
    with store.read() as connection:
        query = sa.text("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        names = connection.execute(query).scalars().all()
    assert schema.VERSION == 1
    assert [name for name in names if not name.startswith("sqlite_")] == sorted(
        schema.metadata.tables
    )
