"""The project file: opened by one writer at a time, safe against crashes, never half written."""

from __future__ import annotations

import getpass
import json
import os
import socket
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from filelock import FileLock, Timeout
from sqlalchemy import event
from sqlalchemy.dialects.sqlite import insert as upsert

from celltally.errors import UserError
from celltally.project import schema
from celltally.project.shares import on_network_share

__all__ = ["SUFFIX", "ProjectInUseError", "Store", "inserted", "now"]

SUFFIX = ".celltally"
_MAGIC = b"SQLite format 3\0"
#: Milliseconds that a reader waits for a writer.
PATIENCE = 5_000


class ProjectInUseError(UserError):
    """Another program writes to the project; it may be opened for reading."""


def now() -> str:
    """Return this moment in UTC, as ISO 8601 has it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def inserted(connection: sa.Connection, row: sa.Insert) -> int:
    """Insert a row, and return its number."""
    key = connection.execute(row).inserted_primary_key
    assert key is not None
    return int(key[0])


class Store:
    """A project file that is open.

    One SQLite file with a write-ahead log and ``synchronous = FULL``: what a transaction
    wrote is there after a crash or a power cut. On a network share, where the log's shared
    memory does not work (https://sqlite.org/wal.html), a rollback journal takes its place.
    A lock file beside it keeps a second writer out; the operating system gives it back when
    the program ends, however it does.

    Parameters
    ----------
    path
        The file; one that is not there yet is made, with its folder there.
    read_only
        Only look; then it must be there, and another program may write to it.
    author
        Who edits; without, the name of the user's account.

    Raises
    ------
    ProjectInUseError
        When another program writes to it; says who.
    UserError
        When it is no project, of a newer program, damaged, or cannot be opened.
    """

    def __init__(
        self, path: str | Path, *, read_only: bool = False, author: str | None = None
    ) -> None:
        self.path = Path(path).absolute()
        self.read_only = read_only
        self.author = author if author is not None else _account()
        self._lock: FileLock | None = None
        fresh = _look(self.path, read_only=read_only)
        if not read_only:
            self._lock = self._locked()
        self.on_share = on_network_share(self.path)
        self._engine = self._connect()
        try:
            self._prepare(fresh=fresh)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    # ---- transactions ----

    @contextmanager
    def write(self) -> Generator[sa.Connection, None, None]:
        """Give a connection whose work is on the disk when the block ends, or not done at all.

        Raises
        ------
        UserError
            When it could not be written.
        """
        if self.read_only:
            raise UserError(f"{self.path.name} is open for reading only: nothing can be changed")
        with self._told("written"), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Generator[sa.Connection, None, None]:
        """Give a connection that sees the file as it is at one moment.

        Raises
        ------
        UserError
            When it cannot be read.
        """
        with self._told("read"), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def _told(self, deed: str) -> Generator[None, None, None]:
        try:
            yield
        except sa.exc.DBAPIError as error:
            raise UserError(_sentence(self.path, error, deed)) from error

    # ---- settings ----

    def setting(self, name: str, default: Any = None) -> Any:
        """Return a setting of the project."""
        with self.read() as connection:
            query = sa.select(schema.settings.c.value).where(schema.settings.c.name == name)
            found = connection.execute(query).scalar()
        return default if found is None else json.loads(found)

    def set_setting(self, name: str, value: Any) -> None:
        """Keep a setting."""
        with self.write() as connection:
            _set(connection, name, value)

    def check(self) -> list[str]:
        """Return what SQLite finds wrong with the file; empty where it is whole."""
        with self.read() as connection:
            said = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
        return [] if said == ["ok"] else [str(line) for line in said]

    # ---- opening ----

    def _locked(self) -> FileLock:
        lock = FileLock(f"{self.path}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise ProjectInUseError(
                f"{self.path.name} is open in another program{self._holder()}; "
                "open it for reading, or close it there first"
            ) from None
        except OSError as error:
            raise UserError(
                f"{self.path} cannot be locked ({str(error.strerror).lower()}); "
                "choose a folder that can be written to, or open it for reading"
            ) from error
        return lock

    def _holder(self) -> str:
        """Say who has it open, as far as that is known."""
        with suppress(UserError, OSError), Store(self.path, read_only=True) as other:
            holder = other.setting("open_by") or {}
            if holder:
                return f" ({holder['user']} on {holder['host']}, since {holder['since']} UTC)"
        return ""

    def _connect(self) -> sa.Engine:
        if self.read_only:
            uri = f"{self.path.as_uri()}?mode=ro"
            engine = sa.create_engine(
                "sqlite+pysqlite://", creator=lambda: _sqlite(uri, uri=True), poolclass=sa.QueuePool
            )
        else:
            path = str(self.path)
            engine = sa.create_engine(
                "sqlite+pysqlite://", creator=lambda: _sqlite(path), poolclass=sa.QueuePool
            )
        begin = "BEGIN" if self.read_only else "BEGIN IMMEDIATE"

        @event.listens_for(engine, "connect")
        def _set_up(connection: sqlite3.Connection, _: object) -> None:
            connection.isolation_level = None  # transactions begin where we say so
            for pragma in self._pragmas():
                connection.execute(f"PRAGMA {pragma}")

        @event.listens_for(engine, "begin")
        def _begin(connection: sa.Connection) -> None:
            connection.exec_driver_sql(begin)

        return engine

    def _pragmas(self) -> list[str]:
        common = [f"busy_timeout = {PATIENCE}", "foreign_keys = ON"]
        if self.read_only:
            return common
        journal = "DELETE" if self.on_share else "WAL"
        return [*common, f"journal_mode = {journal}", "synchronous = FULL"]

    def _prepare(self, *, fresh: bool) -> None:
        """Make the tables, or check them and bring them up to this version."""
        with self._told("opened"):
            if fresh or self._empty():
                with self.write() as connection:
                    schema.create(connection)
                    _set(connection, "name", self.path.stem)
                    _set(connection, "made", now())
            else:
                self._bring_up()
        if not self.read_only:
            holder = {"user": _account(), "host": socket.gethostname(), "pid": os.getpid()}
            self.set_setting("open_by", {**holder, "since": now()[:16].replace("T", " ")})

    def _empty(self) -> bool:
        """Whether the program that made the file died before its first transaction."""
        if self.read_only:
            return False
        with self.read() as connection:
            return not connection.exec_driver_sql("SELECT 1 FROM sqlite_master LIMIT 1").scalar()

    def _bring_up(self) -> None:
        """Bring a file of an older version up to this one; a copy of the old one stays."""
        with self.read() as connection:
            owner = connection.exec_driver_sql("PRAGMA application_id").scalar()
            version = int(connection.exec_driver_sql("PRAGMA user_version").scalar() or 0)
        if owner != schema.APPLICATION_ID:
            raise UserError(f"{self.path} is a database, but no project; choose another file")
        if version > schema.VERSION:
            raise UserError(
                f"{self.path} was made by a newer version of Celltally (its format is {version}, "
                f"this one knows {schema.VERSION}); update Celltally"
            )
        if version == schema.VERSION:
            return
        if self.read_only:
            raise UserError(
                f"{self.path} is of an older version; open it once for writing to bring it up"
            )
        self._back_up(self.path.with_name(f"{self.path.name}.v{version}.bak"))
        with self.write() as connection:
            for step in range(version, schema.VERSION):
                schema.MIGRATIONS[step](connection)
            connection.exec_driver_sql(f"PRAGMA user_version = {schema.VERSION}")

    def _back_up(self, to: Path) -> None:
        """Copy the file as it is, its write-ahead log included."""
        source, copy = _sqlite(str(self.path)), _sqlite(str(to))
        try:
            source.backup(copy)
        finally:
            source.close()
            copy.close()


def _sqlite(database: str, *, uri: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(database, uri=uri, check_same_thread=False)


def _set(connection: sa.Connection, name: str, value: Any) -> None:
    row = upsert(schema.settings).values(name=name, value=json.dumps(value))
    connection.execute(
        row.on_conflict_do_update(index_elements=["name"], set_={"value": row.excluded.value})
    )


def _account() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # an account without a name
        return "unknown"


def _look(path: Path, *, read_only: bool) -> bool:
    """Whether the file is still to be made.

    Raises
    ------
    UserError
        When something else is there, or it cannot be read.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder; give a project file")
    try:
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
    except FileNotFoundError:
        if read_only:
            raise UserError(f"{path} does not exist; check the path") from None
        if not path.parent.is_dir():
            raise UserError(f"{path.parent} is no folder; make it first, or choose one") from None
        return True
    except OSError as error:
        raise UserError(
            f"{path} cannot be opened ({str(error.strerror).lower()}); check the path"
        ) from error
    if not head:  # made, but the program died before its first transaction
        return not read_only
    if head != _MAGIC:
        raise UserError(f"{path} is no project of Celltally; choose another file")
    return False


def _sentence(path: Path, error: sa.exc.DBAPIError, deed: str) -> str:
    """Say what SQLite would not do, and what to do about it."""
    said = str(error.orig)
    words = said.lower()
    name = path.name
    if "full" in words:
        return f"the disk is full: {name} could not be {deed}; free some space and try again"
    if "readonly" in words or "read-only" in words:
        return f"{path} may not be written to; ask its owner, or copy it to a place of your own"
    if "locked" in words or "busy" in words:
        return f"{name} is in use by another program and could not be {deed}; try again"
    if "malformed" in words or "not a database" in words or "corrupt" in words:
        return f"{path} is damaged ({said}); open a copy of it that you saved before"
    if "unable to open" in words:
        return f"{path} cannot be opened; check that the folder is there and may be written to"
    return f"{name} could not be {deed} ({said}); check the disk"
