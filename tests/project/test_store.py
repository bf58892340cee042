"""Opening, locking and writing a project file."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import SimpleNamespace

import psutil
import pytest
import sqlalchemy as sa

from celltally.errors import UserError
from celltally.project import schema
from celltally.project import store as store_module
from celltally.project.images import all_images, register
from celltally.project.store import ProjectInUseError, Store, set_in


def pragma(store: Store, name: str) -> object:
    with store.read() as connection:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar()


def other_program(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start another program that says a line when it is ready, and ends with its input."""
    words = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    program = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    return program


HOLD = """
    import sys
    from celltally.project.store import Store
    with Store(sys.argv[1]):
        print("ready", flush=True)
        sys.stdin.read()
"""


@pytest.fixture
def holder(path):
    """Another program that has the project open."""
    program = other_program(HOLD, path)
    yield program
    program.kill()
    program.communicate()


# ---- making and opening ----


def test_a_project_is_made_and_opened_again(path):
    with Store(path) as store:
        assert store.setting("name") == "study"
        assert store.setting("nothing", 5) == 5
        store.set_setting("lock", {"diameter_px": 12.5})
        assert store.check() == []
    with Store(path) as store:
        assert store.setting("lock") == {"diameter_px": 12.5}
        assert store.check() == []
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name, f"{path.name}.lock"]


def test_relative_paths_keep_their_place(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    with Store(path.name) as store:
        monkeypatch.chdir("/")
        store.set_setting("a", 1)
        assert store.path == path


@pytest.mark.parametrize("name", ["50 % µ?.celltally", "a#b;c&d.celltally"])
def test_any_name_of_a_file(tmp_path, name):
    Store(tmp_path / name).close()
    with Store(tmp_path / name, read_only=True) as store:
        assert store.setting("name") == Path(name).stem


def test_read_only(path):
    with pytest.raises(UserError, match=r"study\.celltally does not exist; check the path"):
        Store(path, read_only=True)
    Store(path).close()
    with Store(path, read_only=True) as store:
        assert store.setting("name") == "study"
        with pytest.raises(UserError, match="open for reading only: nothing can be changed"):
            store.set_setting("a", 1)
        with pytest.raises(UserError, match="may not be written to"), store.read() as connection:
            connection.execute(schema.settings.delete())
        with Store(path) as writer:  # it holds nobody up
            writer.set_setting("a", 1)
        assert store.setting("a") == 1


def test_the_account_is_the_author_unless_told(path, store, monkeypatch):
    assert store.author == "Ada"
    monkeypatch.setattr(store_module.getpass, "getuser", lambda: "grace")
    assert Store(path, read_only=True).author == "grace"
    monkeypatch.setattr(store_module.getpass, "getuser", lambda: {}["x"])
    assert Store(path, read_only=True).author == "unknown"


def database(path, *statements):
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"y,x\n1,2\n", "no project of Celltally; choose another file"),
        (b"SQLite", "no project of Celltally; choose another file"),
        (b"SQLite format 3\0" + bytes(84), "damaged"),
        (["CREATE TABLE a (b)"], "is a database, but no project; choose another file"),
        (["PRAGMA user_version = 3"], "is a database, but no project; choose another file"),
        (["PRAGMA application_id = 7"], "no project of Celltally; choose another file"),
        (
            ["PRAGMA application_id = 7", "PRAGMA user_version = 1", "CREATE TABLE a (b)"],
            "no project of Celltally; choose another file",
        ),
    ],
)
def test_what_is_no_project_is_refused_and_left_as_it_is(path, content, words, read_only):
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        database(path, *content)
    before = path.read_bytes()
    with pytest.raises(UserError, match=words):
        Store(path, read_only=read_only)
    assert path.read_bytes() == before
    assert {p.name for p in path.parent.iterdir()} <= {path.name, f"{path.name}.lock"}


def test_folders(tmp_path):
    with pytest.raises(UserError, match="is a folder; give a project file"):
        Store(tmp_path)
    with pytest.raises(UserError, match="missing is no folder; make it first, or choose one"):
        Store(tmp_path / "missing" / "study.celltally")
    assert not (tmp_path / "missing").exists()


def test_what_cannot_be_opened(path, monkeypatch):
    def denied(*_: object, **__: object):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(UserError, match=r"cannot be opened \(permission denied\); check the path"):
        Store(path)


def test_a_folder_that_cannot_be_locked_in(path, monkeypatch):
    def denied(*_: object, **__: object):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(store_module.FileLock, "acquire", denied)
    with pytest.raises(UserError, match=r"cannot be locked \(read-only file system\); choose"):
        Store(path)
    assert not path.exists()


@pytest.mark.parametrize("made", ["nothing", "its header"])
def test_a_file_whose_maker_died_is_made_anew(path, made):
    path.touch()
    if made == "its header":
        database(path, "PRAGMA journal_mode = WAL")
        assert path.stat().st_size > 0
    with pytest.raises(UserError, match="is empty; open it once for writing to make a project"):
        Store(path, read_only=True)
    with Store(path) as store:
        assert store.setting("name") == "study"
        assert all_images(store) == []


def _whole(path):
    """Open a project, look at all of it, and close it."""
    with Store(path) as store:
        if said := store.check():
            raise UserError(f"damaged ({said[0]}); open a copy of it that you saved before")


def test_a_truncated_file_is_told_and_left(path):
    with Store(path) as store:
        for i in range(200):
            register(store, name=f"{i}.tif", pixels_sha256=f"{i:064d}")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"damaged \(.*\); open a copy of it that you saved"):
        _whole(path)
    path.write_bytes(whole[:100] + b"\xff" * 3000 + whole[3100:])
    with pytest.raises(UserError, match="damaged"):
        Store(path)


def test_a_file_in_a_folder_that_cannot_be_written_to_is_read(path, monkeypatch):
    """The write-ahead log's own files cannot be made there."""
    Store(path).close()
    real, asked = store_module._sqlite, []

    class Denied(sqlite3.Connection):
        def execute(self, sql, *arguments):
            if "immutable" not in asked[-1]:
                real(str(path.parent / "missing" / "x")).execute("SELECT 1")  # cannot be opened
            return super().execute(sql, *arguments)

    def connect(database: str, *, uri: bool = False) -> sqlite3.Connection:
        asked.append(database)
        if not uri:
            return real(database)
        return sqlite3.connect(database, uri=True, check_same_thread=False, factory=Denied)

    monkeypatch.setattr(store_module, "_sqlite", connect)
    with Store(path, read_only=True) as store:
        assert store.setting("name") == "study"
    (path.parent / f"{path.name}-wal").touch()
    with pytest.raises(UserError, match="cannot be opened; check that the folder is there"):
        Store(path, read_only=True)


@pytest.mark.skipif(os.name == "nt" or os.getuid() != 0, reason="needs another account")
def test_another_account_reads_in_a_folder_of_root():
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path = Path(folder) / "study.celltally"
        Store(path).close()
        path.parent.chmod(0o755)
        path.chmod(0o644)
        os.seteuid(65534)
        try:
            with Store(path, read_only=True) as store:
                assert store.setting("name") == "study"
            with pytest.raises(UserError, match=r"cannot be locked \(permission denied\)"):
                Store(path)
        finally:
            os.seteuid(0)
        with Store(path) as writer:
            os.seteuid(65534)
            try:
                with Store(path, read_only=True) as store:  # beside a writer of another account
                    assert store.setting("open_by") == writer.setting("open_by")
            finally:
                os.seteuid(0)


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        (PurePosixPath("/a b/ü?#%.x"), "file:///a%20b/%C3%BC%3F%23%25.x"),
        (PureWindowsPath("C:\\data\\x.y"), "file:///C:/data/x.y"),
        (PureWindowsPath("\\\\server\\share\\x.y"), "file:////server/share/x.y"),
    ],
)
def test_paths_as_sqlite_reads_them(path, uri):
    assert store_module._uri(path) == uri


# ---- one writer ----


def test_a_second_program_is_told_who_writes_and_may_read(path, holder):
    with pytest.raises(ProjectInUseError) as caught:
        Store(path)
    user, host = store_module._account(), store_module.socket.gethostname()
    assert str(caught.value).startswith(
        f"study.celltally is open in another program ({user} on {host}, since 20"
    )
    assert str(caught.value).endswith(" UTC); open it for reading, or close it there first")
    with Store(path, read_only=True) as store:
        assert store.setting("open_by")["pid"] == holder.pid
    holder.communicate("")
    assert holder.returncode == 0
    Store(path).close()


def test_the_lock_of_a_killed_program_is_gone(path, holder):
    holder.kill()  # as kill -9 does
    holder.wait()
    with Store(path) as store:
        assert store.check() == []


def test_a_lock_on_something_that_is_not_there_yet_names_nobody(path):
    words = "is open in another program; open it for"
    with store_module.FileLock(f"{path}.lock"), pytest.raises(ProjectInUseError, match=words):
        Store(path)
    assert not path.exists()


def test_the_lock_is_given_back_by_whatever_thread_closes(path):
    opened: list[Store] = []
    is_open, end = threading.Event(), threading.Event()

    def work():  # as a thread of the window that goes on for long
        opened.append(Store(path))
        is_open.set()
        end.wait(10)

    thread = threading.Thread(target=work)
    thread.start()
    assert is_open.wait(10)
    with pytest.raises(ProjectInUseError):
        Store(path)
    opened[0].close()
    opened[0].close()  # once more is harmless
    Store(path).close()
    end.set()
    thread.join()


def test_an_opening_that_fails_gives_the_lock_back(path):
    database(path, "CREATE TABLE a (b)")
    for _ in range(2):
        with pytest.raises(UserError, match="but no project"):
            Store(path)


def test_a_closed_project_is_neither_read_nor_written(path):
    store = Store(path)
    store.close()
    with pytest.raises(UserError, match=r"study\.celltally is closed and cannot be written; open"):
        store.set_setting("a", 1)
    with pytest.raises(UserError, match="is closed and cannot be read; open it again"):
        store.setting("a")


# ---- transactions ----


def test_a_transaction_is_done_or_not_done(store):
    def fails():
        with store.write() as connection:
            set_in(connection, "a", 1)
            raise RuntimeError("oh")

    with pytest.raises(RuntimeError, match="oh"):
        fails()
    assert store.setting("a") is None


def test_a_transaction_within_another_is_part_of_it(store):
    def cut_off() -> None:
        with store.write():
            store.set_setting("inner", 1)
            assert store.setting("inner") is None  # as the file was before
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cut_off()
    assert store.setting("inner") is None
    with store.write() as connection:
        store.set_setting("inner", 2)
        set_in(connection, "outer", 3)
    assert (store.setting("inner"), store.setting("outer")) == (2, 3)
    with pytest.raises(UserError, match="no such table"), store.write(), store.write() as inner:
        inner.exec_driver_sql("INSERT INTO nowhere VALUES (1)")
    store.set_setting("after", 4)
    assert store.setting("after") == 4


def test_a_reader_sees_what_is_committed_and_only_that(path, store):
    with Store(path, read_only=True) as reader:
        with store.write() as connection:
            set_in(connection, "a", 1)
            assert reader.setting("a") is None
            assert store.setting("a") is None
        assert reader.setting("a") == 1


def test_a_reader_sees_one_moment(path, store):
    with Store(path, read_only=True) as reader, reader.read() as connection:
        query = sa.select(sa.func.count()).select_from(schema.settings)
        before = connection.execute(query).scalar()
        store.set_setting("a", 1)
        assert connection.execute(query).scalar() == before


def test_reading_keeps_no_writer_waiting(store, monkeypatch):
    monkeypatch.setattr(store_module, "PATIENCE", 0)
    with store.read() as first, store.read() as second:
        assert first.exec_driver_sql("SELECT count(*) FROM settings").scalar()
        assert second.exec_driver_sql("SELECT count(*) FROM settings").scalar()
        store.set_setting("a", 1)
    assert store.setting("a") == 1


def test_threads_write_and_read_at_once(store):
    errors: list[BaseException] = []

    def guarded(job):
        def run():
            try:
                for i in range(25):
                    job(i)
            except BaseException as error:
                errors.append(error)

        return threading.Thread(target=run)

    def write(prefix):
        return guarded(lambda i: register(store, name=f"{prefix}{i}", pixels_sha256=f"{prefix}{i}"))

    seen: list[int] = []
    threads = [write("a"), write("b"), write("c")]
    threads += [guarded(lambda _: seen.append(len(all_images(store)))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len({entry.name for entry in all_images(store)}) == 75
    assert store.check() == []
    assert seen


def test_closing_waits_for_a_writer_and_not_for_a_reader(path):
    store = Store(path)
    writing, go_on, closed = threading.Event(), threading.Event(), threading.Event()

    def write():
        with store.write() as connection:
            writing.set()
            go_on.wait(10)
            set_in(connection, "a", 1)

    def close():
        store.close()
        closed.set()

    with store.read() as connection:
        query = sa.select(schema.settings.c.name)
        before = connection.execute(query).all()
        writer = threading.Thread(target=write)
        writer.start()
        assert writing.wait(10)
        closer = threading.Thread(target=close)
        closer.start()
        assert not closed.wait(0.1)
        go_on.set()
        writer.join()
        closer.join()
        assert closed.is_set()
        assert connection.execute(query).all() == before  # goes on as if nothing were
        with Store(path) as again:  # another may write now
            again.set_setting("b", 2)
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name, f"{path.name}.lock"]
    with Store(path, read_only=True) as again:
        assert (again.setting("a"), again.setting("b")) == (1, 2)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("database or disk is full", "the disk is full: s.celltally could not be written; free"),
        ("attempt to write a readonly database", "may not be written to; ask its owner"),
        ("database is locked", "is in use by another program and could not be written; try again"),
        ("database disk image is malformed", "is damaged"),
        ("unable to open database file", "cannot be opened; check that the folder is there"),
        ("disk I/O error", r"s.celltally could not be written \(disk I/O error\); check that its"),
    ],
)
def test_what_sqlite_says_becomes_a_sentence(said, told):
    error = sqlite3.OperationalError(said)
    wrapped = sa.exc.OperationalError("INSERT", {}, error)
    for one in (error, wrapped):
        assert re.search(told, store_module._sentence(Path("s.celltally"), one, "written"))


# ---- where it lies ----


def partition(place: Path, kind: str, options: str = "rw"):
    return SimpleNamespace(mountpoint=str(place), fstype=kind, opts=options)


@pytest.mark.parametrize(
    ("kind", "options", "shared"),
    [
        ("ext4", "rw", False),
        ("NTFS", "rw,fixed", False),
        ("cifs", "rw", True),
        ("NFS4", "rw", True),
        ("fuse.gvfsd-fuse", "rw", True),
        ("NTFS", "rw,remote", True),
    ],
)
def test_the_journal_is_what_the_place_bears(path, monkeypatch, kind, options, shared):
    mounts = [partition(Path("/"), "nfs" if kind == "ext4" else "ext4")]
    mounts += [partition(path.parent, kind, options), partition(path.parent / "below", "ext4")]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: mounts)
    with Store(path) as store:
        assert store.on_share is shared
        assert pragma(store, "journal_mode") == ("delete" if shared else "wal")
        assert pragma(store, "synchronous") == 2  # FULL
        assert pragma(store, "foreign_keys") == 1
        store.set_setting("a", 1)
        with Store(path, read_only=True) as reader:
            assert reader.setting("a") == 1
            store.set_setting("a", 2)
            assert reader.setting("a") == 2


def test_a_project_that_moves_to_a_share_gets_another_journal(path, monkeypatch):
    Store(path).close()
    for kind, mode in (("cifs", "delete"), ("ext4", "wal")):
        mounts = [partition(path.parent, kind)]
        monkeypatch.setattr(psutil, "disk_partitions", lambda mounts=mounts, **_: mounts)
        with Store(path) as store:
            assert pragma(store, "journal_mode") == mode
            assert store.check() == []


# ---- older and newer versions ----


@pytest.fixture
def newer(monkeypatch):
    """A program whose format is one version on: images have a colour."""

    def install(migrate=None):
        def colour(connection):
            connection.exec_driver_sql("ALTER TABLE images ADD COLUMN colour TEXT")
            connection.exec_driver_sql("UPDATE images SET colour = 'red'")

        version = schema.VERSION
        monkeypatch.setattr(schema, "VERSION", version + 1)
        monkeypatch.setattr(schema, "MIGRATIONS", {version: migrate or colour})
        return version

    return install


def query(path, statement):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def test_a_file_of_a_newer_program_is_left(path, newer, monkeypatch):
    newer()
    Store(path).close()
    before = path.read_bytes()
    monkeypatch.undo()
    for read_only in (False, True):
        with pytest.raises(UserError, match=r"newer version of Celltally .*; update Celltally"):
            Store(path, read_only=read_only)
    assert path.read_bytes() == before


def test_an_older_file_is_brought_up_and_a_copy_of_it_stays(path, newer):
    with Store(path) as store:
        register(store, name="a.tif")
    old = newer()
    with pytest.raises(UserError, match="of an older version; open it once for writing"):
        Store(path, read_only=True)
    with Store(path) as store:
        assert [entry.name for entry in all_images(store)] == ["a.tif"]
    assert query(path, "SELECT colour FROM images") == [("red",)]
    assert query(path, "PRAGMA user_version") == [(old + 1,)]
    backup = path.with_name(f"{path.name}.v{old}.bak")
    assert query(backup, "PRAGMA user_version") == [(old,)]
    assert query(backup, "SELECT name FROM images") == [("a.tif",)]
    assert {p.name for p in path.parent.iterdir()} == {
        path.name, f"{path.name}.lock", backup.name
    }  # fmt: skip


def test_a_migration_that_fails_leaves_the_file_as_it_was(path, newer):
    with Store(path) as store:
        register(store, name="a.tif")

    def fails(connection):
        connection.exec_driver_sql("ALTER TABLE images ADD COLUMN colour TEXT")
        connection.exec_driver_sql("SELECT * FROM nowhere")

    old = newer(fails)
    with pytest.raises(UserError, match=r"could not be written \(no such table: nowhere\)"):
        Store(path)
    assert query(path, "PRAGMA user_version") == [(old,)]
    assert query(path, "SELECT count(*) FROM pragma_table_info('images') WHERE name = 'colour'") \
        == [(0,)]  # fmt: skip
    assert query(path, "SELECT name FROM images") == [("a.tif",)]


def test_without_room_for_the_copy_nothing_is_migrated(path, newer, monkeypatch):
    Store(path).close()
    old = newer()
    path.with_name(f"{path.name}.v{old}.bak").mkdir()
    with pytest.raises(UserError, match=r"bak cannot be written \(is a directory\); make room"):
        Store(path)
    assert query(path, "PRAGMA user_version") == [(old,)]
    assert not list(path.parent.glob("*.part"))


def test_a_version_that_nobody_wrote(path):
    Store(path).close()
    database(path, "PRAGMA user_version = 0")
    with pytest.raises(UserError, match=r"damaged \(no program wrote the format 0\); open a"):
        Store(path)
