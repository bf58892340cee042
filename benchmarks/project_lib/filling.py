"""Fill the disk that a project is on, and look what is left and what is told."""

from __future__ import annotations

import errno
import subprocess
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from celltally.errors import UserError
from celltally.project.store import Store
from celltally.project.work import record
from project_lib import scripted
from project_lib.killing import Replay, check_edits, expect

#: Megabytes of the file system that is filled.
SIZE = 8
BALLAST = "ballast"


@contextmanager
def small_disk(size_mb: int = SIZE) -> Generator[Path, None, None]:
    """Mount a file system in memory, which only root may.

    Raises
    ------
    OSError
        When that is not allowed.
    """
    with tempfile.TemporaryDirectory() as folder:
        words = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", folder]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            raise OSError(f"no small disk can be mounted here ({done.stderr.strip()})")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


def fill(folder: Path, leave: int = 0) -> None:
    """Take all the room that is left, but for some bytes."""
    with (folder / BALLAST).open("ab", buffering=0) as file:
        for block in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(block))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
        file.truncate(max(file.tell() - leave, 0))


def refused(deed: Callable[[], object]) -> str:
    """Do what must be refused, and return what the user is told."""
    try:
        deed()
    except UserError as error:
        expect("room" in str(error) or "space" in str(error), f"it is told otherwise: {error}")
        return str(error)
    expect(False, "there was room")
    return ""


def full_disk(folder: Path, seed: int, leave: int) -> dict[str, object]:
    """Edit a project until its disk is full, and once there is room again.

    Parameters
    ----------
    leave
        Bytes that are free when it begins to be tight.

    Returns
    -------
    dict
        Edits before the disk was full, and what the user was told.
    """
    path, replay = folder / "study.celltally", Replay(seed)
    with Store(path) as store:
        number = scripted.image_of(store)
        scripted.add_scripted_prediction(store, number, seed, 0)
        for i in range(20):
            record(store, number, replay.work.do(scripted.next_edit(replay.work, seed, i)))
        fill(folder, leave)
        done, said, edit = 20, "", None
        while not said and done < 5000:
            edit = scripted.next_edit(replay.work, seed, done)
            try:
                record(store, number, edit)
            except UserError as error:
                said = str(error)
                continue
            replay.work.do(edit)
            done += 1
        assert edit is not None
        replay.done = done
        expect("disk is full" in said, f"it is told otherwise: {said}")
        refused(lambda: record(store, number, edit))
        refused(lambda: scripted.add_scripted_prediction(store, number, seed, 1))
        refused(lambda: Store(folder / "another.celltally"))
        expect(store.check() == [], "the integrity check fails")
        expect(scripted.steps_of(store, number) == done, "an edit is lost")
    with Store(path, read_only=True) as store:  # closed and opened while the disk is full
        expect(scripted.steps_of(store, number) == done, "an edit is lost")
    (folder / BALLAST).unlink()
    check_edits(path, replay, done)
    with Store(path) as store:
        record(store, number, replay.work.do(edit))
        replay.done = done + 1
        scripted.add_scripted_prediction(store, number, seed, 1)
    expect(check_edits(path, replay, done + 1) == done + 1, "the edit is not there")
    return {"edits before": done, "told": said}
