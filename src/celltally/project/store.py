"""The project file: opened by one writer at a time, safe against crashes, never half written."""

from __future__ import annotations

import getpass
import json
import os
import socket
import sqlite3
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from filelock import FileLock, Timeout
from sqlalchemy import event
from sqlalchemy.dialects.sqlite import insert as upsert

from celltally.errors import TryAgainError, UserError
from celltally.project import schema
from celltally.project.shares import on_network_share

__all__ = ["SUFFIX", "ProjectInUseError", "Store", "inserted", "now", "set_in"]

SUFFIX = ".celltally"
_MAGIC = b"SQLite format 3\0"
#: Bytes of the header of such a file (https://sqlite.org/fileformat.html).
_HEADER = 100
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
    """A project file that is open; any thread may use it.

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
        self._closed = threading.Event()
        self._one_writer = threading.RLock()  # SQLite would let a second thread wait and poll
        self._writing: sa.Connection | None = None  # of the thread that holds it
        _look(self.path, read_only=read_only)
        self.on_share = on_network_share(self.path)
        self._engine = self._connect()
        if not read_only:
            self._lock = self._locked()
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file, when a thread that writes is done; one that reads may go on."""
        with self._one_writer:
            self._closed.set()
            self._engine.dispose()
            if self._lock is not None:
                self._lock.release()
                self._lock = None

    # ---- transactions ----

    @contextmanager
    def write(self) -> Generator[sa.Connection, None, None]:
        """Give a connection whose work is on the disk when the block ends, or not done at all.

        Within another such block it is that one's: both are done, or neither. What is read
        meanwhile (``read``) is the file as it was before.

        Raises
        ------
        UserError
            When it could not be written, or was closed.
        """
        if self.read_only:
            raise UserError(f"{self.path.name} is open for reading only: nothing can be changed")
        with self._one_writer:
            if self._writing is not None:
                yield self._writing
                return
            with self._transaction("written", "BEGIN IMMEDIATE") as connection:
                self._writing = connection
                try:
                    yield connection
                finally:
                    self._writing = None

    @contextmanager
    def read(self) -> Generator[sa.Connection, None, None]:
        """Give a connection that sees the file as it is at one moment.

        Raises
        ------
        UserError
            When it cannot be read, or was closed.
        """
        with self._transaction("read", "BEGIN") as connection:
            yield connection

    @contextmanager
    def _transaction(self, deed: str, begin: str) -> Generator[sa.Connection, None, None]:
        if self._closed.is_set():
            raise UserError(f"{self.path.name} is closed and cannot be {deed}; open it again")
        with self._told(deed), self._engine.connect() as connection:
            try:
                with connection.execution_options(begin=begin).begin():
                    yield connection
            finally:
                if self._closed.is_set():  # meanwhile: the pool that would close it is gone
                    connection.invalidate()

    @contextmanager
    def _told(self, deed: str) -> Generator[None, None, None]:
        try:
            yield
        except (sa.exc.DBAPIError, sqlite3.Error) as error:
            raise _told(self.path, error, deed) from error

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
            set_in(connection, name, value)

    def check(self) -> list[str]:
        """Return what SQLite finds wrong with the file; empty where it is whole."""
        with self.read() as connection:
            said = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
        return [] if said == ["ok"] else [str(line) for line in said]

    # ---- opening ----

    def _locked(self) -> FileLock:
        # Not of a thread's own, by which no other thread could give it back.
        lock = FileLock(f"{self.path}.lock", thread_local=False)
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
        def creator() -> sqlite3.Connection:
            return _reading(self.path) if self.read_only else _sqlite(str(self.path))

        options: dict[str, Any] = {"poolclass": sa.QueuePool, "max_overflow": -1}
        if self.read_only:  # a writer may have come since, and how to open it is another
            options = {"poolclass": sa.NullPool}
        engine = sa.create_engine("sqlite+pysqlite://", creator=creator, **options)

        @event.listens_for(engine, "connect")
        def _set_up(connection: sqlite3.Connection, _: object) -> None:
            connection.isolation_level = None  # transactions begin where we say so
            for pragma in self._pragmas():
                connection.execute(f"PRAGMA {pragma}")

        @event.listens_for(engine, "begin")
        def _begin(connection: sa.Connection) -> None:
            connection.exec_driver_sql(connection.get_execution_options()["begin"])

        return engine

    def _pragmas(self) -> list[str]:
        common = [f"busy_timeout = {PATIENCE}", "foreign_keys = ON"]
        if self.read_only:
            return common
        journal = "DELETE" if self.on_share else "WAL"
        return [*common, f"journal_mode = {journal}", "synchronous = FULL"]

    def _prepare(self) -> None:
        """Make the tables, or check them and bring them up to this version."""
        with self._told("opened"):
            owner, version, has_tables = self._identity()
            if not (owner or version or has_tables):
                self._begin_anew()
            elif owner != schema.APPLICATION_ID:
                raise UserError(f"{self.path} is a database, but no project; choose another file")
            elif version != schema.VERSION:
                self._bring_up(version)
        if not self.read_only:
            holder = {"user": _account(), "host": socket.gethostname(), "pid": os.getpid()}
            self.set_setting("open_by", {**holder, "since": now()[:16].replace("T", " ")})

    def _identity(self) -> tuple[int, int, bool]:
        """Whose file it is, its version, and whether it has tables; nothing is changed.

        By a connection of its own: those of the engine set the journal's mode, which is
        written into the file, and it may be another program's.
        """
        connection = _reading(self.path) if self.read_only else _sqlite(str(self.path))
        try:
            connection.execute(f"PRAGMA busy_timeout = {PATIENCE}")
            connection.execute("BEGIN")
            owner = connection.execute("PRAGMA application_id").fetchone()[0]
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            table = connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
        finally:
            connection.close()
        return int(owner), int(version), table is not None

    def _begin_anew(self) -> None:
        """Make the tables: the file is new, or who made it died before the first transaction."""
        if self.read_only:
            raise UserError(f"{self.path} is empty; open it once for writing to make a project")
        with self.write() as connection:
            schema.create(connection)
            set_in(connection, "name", self.path.stem)
            set_in(connection, "made", now())

    def _bring_up(self, version: int) -> None:
        """Bring a file of an older version up to this one; a copy of the old one stays."""
        if version > schema.VERSION:
            raise UserError(
                f"{self.path} was made by a newer version of Celltally (its format is {version}, "
                f"this one knows {schema.VERSION}); update Celltally"
            )
        if any(step not in schema.MIGRATIONS for step in range(version, schema.VERSION)):
            raise UserError(
                f"{self.path} is damaged (no program wrote the format {version}); "
                "open a copy of it that you saved before"
            )
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
        """Copy the file as it is, its write-ahead log included; a copy is whole or not there."""
        part = to.with_name(f"{to.name}.part")
        part.unlink(missing_ok=True)
        try:
            source, copy = _sqlite(str(self.path)), _sqlite(str(part))
            try:
                source.backup(copy)
            finally:
                source.close()
                copy.close()
            part.replace(to)
        except OSError as error:
            raise UserError(
                f"{to} cannot be written ({str(error.strerror).lower()}); "
                "make room for a copy of the project"
            ) from error
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)


def _sqlite(database: str, *, uri: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(database, uri=uri, check_same_thread=False)


def _reading(path: Path) -> sqlite3.Connection:
    """Open a file that is only looked at, its folder may be read-only, too.

    A write-ahead log needs files beside it, which cannot be made there. While there are none,
    nobody writes, and the file is whole as it is.
    """
    connection = _sqlite(f"{_uri(path)}?mode=ro", uri=True)
    try:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1")
    except sqlite3.OperationalError as error:
        connection.close()
        denied = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
        logs = [path.with_name(f"{path.name}-{kind}") for kind in ("wal", "journal")]
        if not denied or any(log.exists() for log in logs):
            raise
        connection = _sqlite(f"{_uri(path)}?mode=ro&immutable=1", uri=True)
    return connection


def _uri(path: PurePath) -> str:
    """Return a path as SQLite reads it: on Windows a share is no host, but part of the path."""
    text = path.as_posix()
    return f"file://{'' if text.startswith('/') else '/'}{quote(text, safe='/:')}"


def set_in(connection: sa.Connection, name: str, value: Any) -> None:
    """Keep a setting, in a transaction that is open."""
    row = upsert(schema.settings).values(name=name, value=json.dumps(value))
    connection.execute(
        row.on_conflict_do_update(index_elements=["name"], set_={"value": row.excluded.value})
    )


def _account() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # an account without a name
        return "unknown"


def _look(path: Path, *, read_only: bool) -> None:
    """Refuse what can be no project, without touching it.

    Raises
    ------
    UserError
        When something else is there, or it cannot be read.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder; give a project file")
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER)
    except FileNotFoundError:
        if read_only:
            raise UserError(f"{path} does not exist; check the path") from None
        if not path.parent.is_dir():
            raise UserError(f"{path.parent} is no folder; make it first, or choose one") from None
        return
    except OSError as error:
        raise UserError(
            f"{path} cannot be opened ({str(error.strerror).lower()}); check the path"
        ) from error
    owner = int.from_bytes(head[68:72], "big")  # 0 as well where it is still in the log
    if (head and not head.startswith(_MAGIC)) or owner not in (0, schema.APPLICATION_ID):
        raise UserError(f"{path} is no project of Celltally; choose another file")


def _told(path: Path, error: sa.exc.DBAPIError | sqlite3.Error, deed: str) -> UserError:
    """Say what SQLite would not do, and what to do about it."""
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    # An operational error is of the disk or of other programs; others come again each time.
    kind = TryAgainError if type(cause) is sqlite3.OperationalError else UserError
    return kind(_sentence(path, error, deed))


def _sentence(path: Path, error: sa.exc.DBAPIError | sqlite3.Error, deed: str) -> str:
    said = str(error.orig if isinstance(error, sa.exc.DBAPIError) else error)
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
    if "constraint failed" in words or "only grows" in words:
        return f"{name} could not be {deed} ({said}): that contradicts what is in it; open it again"
    return f"{name} could not be {deed} ({said}); check that its disk is there and has room"
