"""The project that a window saves into: every count and every edit, beside the window.

There always is one. Where the user has opened none it is *My counts*, in the user's data
folder, so that nothing is lost that nobody thought of saving.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from napari.utils.notifications import show_error
from qtpy.QtCore import QObject, QTimer, Signal

from celltally._napari.identity import LayerImage
from celltally._napari.jobs import InOrder, Jobs, sentence
from celltally._napari.keeper import Keeper, Restored
from celltally._napari.known_images import KnownImages
from celltally._napari.planes import Plane, key_of
from celltally._napari.stored import add_count, stored_z
from celltally._napari.unnamed import is_unnamed, open_unnamed
from celltally.errors import UserError
from celltally.types import Dots, Interval, Prediction, Progress

if TYPE_CHECKING:
    from celltally._napari.counting import PlaneCount
    from celltally.project.counts import StoredCount
    from celltally.project.edits import Edit
    from celltally.project.store import Store
    from celltally.project.study_lock import Lock
    from celltally.record import ModelRecord

__all__ = ["Saving"]

#: What is wrong as long as a project is only read, whatever else succeeds.
READING = "Open for reading: what you change is not kept."

#: Milliseconds until what could not be saved is tried again.
AGAIN = 4000


class Saving(QObject):
    """Keeps counts and edits in a project file, in the order in which they happen.

    ``opened`` tells that a project is open, ``switched`` that it took another one's place,
    ``marked`` that ``mark`` or ``trouble`` is another.
    """

    opened = Signal()
    switched = Signal()
    marked = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.line = InOrder(self)
        self.line.waiting.connect(self._waiting)
        self.jobs = Jobs()
        self.store: Store | None = None
        #: Words on what was saved last, and on what keeps from saving.
        self.mark, self.trouble = "", ""
        #: What the study is locked to; None where it is not.
        self.held: Lock | None = None
        self._opening = False
        self._images = KnownImages()
        self._again = QTimer(self)
        self._again.setSingleShot(True)
        self._again.setInterval(AGAIN)
        self._again.timeout.connect(self.try_again)

    # ---- which project ----

    @property
    def name(self) -> str:
        """What the open project is called; "" while none is open."""
        return "" if self.store is None else self.store.path.stem

    @property
    def author(self) -> str:
        """Who edits: the name of the user's account."""
        try:
            return getpass.getuser()
        except (OSError, KeyError, ImportError):
            return "unknown"

    @property
    def read_only(self) -> bool:
        """Whether nothing can be saved, for another program writes to the project."""
        return self.store is not None and self.store.read_only

    def open(
        self,
        path: Path | None = None,
        *,
        read_only: bool = False,
        on_failed: Callable[[Exception], None] | None = None,
    ) -> None:
        """Open a project when all is saved that is still to be saved, and close the one before.

        Parameters
        ----------
        path
            The file; a new one is made. None for *My counts*.
        on_failed
            Is told why it could not be opened; the one before stays open then.
        """
        self._opening = True

        def done(switched: bool) -> None:
            self._opening = False
            self.mark = ""
            self.trouble = READING if read_only else ""
            self.opened.emit()
            self.marked.emit()
            if switched:
                self.switched.emit()

        def failed(error: Exception) -> None:
            self._opening = False
            if on_failed is not None:
                on_failed(error)
            else:
                self._tell(sentence(error))

        self.line.do(
            lambda: self._switch(path, read_only=read_only), on_done=done, on_failed=failed
        )

    @property
    def busy(self) -> bool:
        """Whether something is being saved, or was and is not told yet."""
        return not self.line.settled

    def _switch(self, path: Path | None, *, read_only: bool) -> bool:
        """Open a project, on the saving thread; whether another one had to be closed."""
        from celltally.project.store import Store

        before = self.store
        if path is None:
            if before is not None and is_unnamed(before):
                return False
            store = open_unnamed()
        elif before is not None and (before.path, before.read_only) == (path, read_only):
            return False
        else:
            store = Store(path, read_only=read_only)
        if before is not None:
            before.close()
        self.store = store
        self.read_lock()
        self._images.another_project()
        return before is not None

    def read_lock(self) -> None:
        """Know what the study is locked to: where that may have changed, on any other thread."""
        from celltally.project.study_lock import locked

        self.held = None if self.store is None else locked(self.store)

    def close(self) -> None:
        """Save what is left, and let go of the file."""
        self.line.finish()
        self.jobs.stop()
        with suppress(RuntimeError):  # at the end of the program Qt's part of it may be gone
            self._again.stop()
        if self.store is not None:
            self.store.close()
            self.store = None

    # ---- keeping ----

    def keeper(self, layer: Image) -> Keeper:
        """Return what keeps counts of an image, from any thread."""
        key, image = key_of(layer), self.known_as(layer)
        self._open_one()

        def keep_one(
            counted: PlaneCount,
            interval: Interval,
            *,
            unlike: bool | None,
            on_kept: Callable[[StoredCount], None],
            on_failed: Callable[[Exception], None],
        ) -> None:
            def keep(store: Store) -> StoredCount:
                return add_count(
                    store, self._images.register(store, key, image), counted, interval, unlike
                )

            self._put_in_line(keep, on_kept, on_failed)

        return keep_one

    def keep_count(
        self, layer: Image, counted: PlaneCount, interval: Interval, *, unlike: bool | None
    ) -> None:
        """Keep what was counted in a plane of an image."""
        if not self.read_only:
            self.keeper(layer)(counted, interval, unlike=unlike, on_kept=_ignore, on_failed=_ignore)

    def keep_edit(self, layer: Image, edit: Edit) -> None:
        """Keep an edit of an image's dots and regions."""
        key, image = key_of(layer), self.known_as(layer)

        def keep(store: Store) -> None:
            from celltally.project.work import record

            record(store, self._images.register(store, key, image), edit)

        self._keep(keep)

    def keep_lineage(self, records: Sequence[ModelRecord]) -> None:
        """Keep what the models learned from that counted here, of those at hand."""
        if not any(record.learned is not None for record in records):
            return

        def keep(store: Store) -> None:
            from celltally.project.lineage import remember_lineages

            remember_lineages(store, records)

        self._keep(keep)

    def keep_threshold(self, layer: Image, plane: Plane, threshold: float) -> None:
        """Keep where the threshold of a plane's count stands."""
        key, image = key_of(layer), self.known_as(layer)
        place = (plane.index("T"), stored_z(plane), plane.z_method)

        def keep(store: Store) -> None:
            from celltally.project.counts import latest_counts, set_threshold

            for count in latest_counts(store, [self._images.register(store, key, image)]):
                if (count.t, count.z, count.z_method) == place:
                    set_threshold(store, count.id, threshold)

        self._keep(keep)

    def _keep(self, keep: Callable[[Store], None]) -> None:
        if self.read_only:
            return
        self._open_one()
        self._put_in_line(keep)

    def _open_one(self) -> None:
        if self.store is None and not self._opening:
            self.open()

    def _put_in_line(
        self,
        keep: Callable[[Store], Any],
        on_kept: Callable[[Any], None] | None = None,
        on_failed: Callable[[Exception], None] | None = None,
    ) -> None:
        def done(result: Any) -> None:
            self._kept(result)
            if on_kept is not None:
                on_kept(result)

        def failed(error: Exception) -> None:
            self._failed(error)
            if on_failed is not None:
                on_failed(error)

        self.line.do(lambda: self._with_store(keep), on_done=done, on_failed=failed, must=True)

    def _with_store(self, keep: Callable[[Store], Any]) -> Any:
        """Keep something in the project that is open by now; on the saving thread."""
        store = self.store
        if store is None:
            raise UserError("no project is open; open one, or make a new one")
        return keep(store)

    # ---- knowing again ----

    def known_as(self, layer: Image) -> LayerImage:
        """Return what an image layer is kept as; see ``KnownImages``."""
        return self._images.known_as(layer)

    def number_of(self, key: str) -> int | None:
        """Return the project's number of an image; None while that is not known."""
        return self._images.number_of(key)

    def restore(self, layer: Image, on_restored: Callable[[Restored | None], None]) -> None:
        """Look an image up in the project; None where it does not know it."""
        key, image = key_of(layer), self.known_as(layer)
        self._open_one()

        def look() -> Restored | None:
            from celltally.project.counts import in_force, latest_counts
            from celltally.project.work import load_work

            store = self.store
            if store is None:
                return None
            number = self._images.look_up(store, key, image)
            if number is None:
                return None
            counts = in_force(latest_counts(store, [number]))
            return Restored(tuple(counts), load_work(store, number))

        self.line.do(look, on_done=on_restored, on_failed=lambda e: self._tell(sentence(e)))

    def load(
        self, count: StoredCount, on_loaded: Callable[[tuple[Prediction, Dots] | None], None]
    ) -> None:
        """Load the maps of a count."""
        store = self.store

        def load() -> Generator[Progress, None, tuple[Prediction, Dots] | None]:
            yield Progress(0, 0, "Opening the count")
            from celltally.project.counts import load_prediction

            return None if store is None else load_prediction(store, count)

        self.jobs.start(
            load, on_done=on_loaded, on_failed=lambda error: self._tell(sentence(error))
        )

    def forget(self, key: str) -> None:
        """Know that an image was closed; see ``KnownImages``."""
        self._images.forget(key)

    # ---- what is said ----

    def try_again(self) -> None:
        """Try to save what could not be saved."""
        self.line.try_again()

    def _kept(self, _: object) -> None:
        self.trouble = READING if self.read_only else ""
        if self.line.idle:
            self.mark = f"Saved {datetime.now():%H:%M}"
        self.marked.emit()

    def _waiting(self, n: int) -> None:
        if n and not self.line.stuck and not self.trouble:
            self.mark = "Saving…"
            self.marked.emit()

    def _failed(self, error: Exception) -> None:
        words = sentence(error)
        waits = self.line.stuck
        self._tell(f"Not saved{' yet' * waits}: {words[:1].lower()}{words[1:]}.")
        if waits:
            self._again.start()
        else:  # it will not be tried again, and the next thing saved takes the words away
            show_error(self.trouble)

    def _tell(self, words: str) -> None:
        self.trouble = words
        self.marked.emit()


def _ignore(_: object) -> None:
    """Do nothing with what is told."""
