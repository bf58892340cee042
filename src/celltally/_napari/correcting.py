"""Corrects dots and regions: every action becomes an edit of the image's work.

Our own tool makes edits directly; whatever else happens to the layers, by napari's tools or
by other code, is found by comparing them with the work. Either way the layers are then
written as the work has it.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Points
from napari.utils.notifications import show_info
from numpy.typing import ArrayLike, NDArray
from qtpy.QtCore import QObject, QTimer, Signal

from celltally._napari import corrections
from celltally._napari.catching import Catching
from celltally._napari.compat import in_hand
from celltally._napari.layers import (
    all_regions_of,
    dots_layer,
    dots_of,
    is_edited,
    keep,
    kept,
    name_regions,
    region_layer,
    replace_regions,
    set_next_dot,
    show_regions,
)
from celltally._napari.layers.place import lead_in_view
from celltally._napari.planes import Plane
from celltally._napari.shown_dots import ShownDots, Subject
from celltally.project.edits import Edit, Work, region_record
from celltally.project.propose import PlaneOf, Proposal, propose
from celltally.types import Dots, Region

__all__ = ["Correcting", "Figures"]


@dataclass(frozen=True)
class Figures:
    """What a human has done in a plane, in dots.

    Attributes
    ----------
    n_dots
        Dots that were not removed.
    added, removed
        By a human.
    """

    n_dots: int
    added: int
    removed: int


class Correcting(QObject):
    """The works of images that are corrected, their layers, and their undo.

    Parameters
    ----------
    viewer
        The napari viewer.
    parent
        Ends it.
    author
        What the ``source`` of added dots says.
    """

    #: Key of the image and the edit, which is in its work and in its layers already.
    edited = Signal(str, object)
    #: Key of an image whose figures have changed.
    changed = Signal(str)
    #: Classes, or the one of the next dots, have changed.
    classes_changed = Signal()

    def __init__(self, viewer: Any, parent: QObject | None, author: str = "") -> None:
        super().__init__(parent)
        self.viewer, self.author = viewer, author
        self.classes: list[str] = ["cell"]
        self.current_class = "cell"
        self._subjects: dict[str, Subject] = {}
        self._again_soon = QTimer(self)
        self._again_soon.setSingleShot(True)  # later, for a layer is just being removed
        self._again_soon.timeout.connect(self._show_deleted)
        self._tooled = False
        self.shown = ShownDots(viewer, self._subjects, lambda: self.classes, self.catch, self)
        self.shown.moved.connect(self.changed)
        self._catching = Catching(viewer, self._subjects, self)
        self._catching.due.connect(self._compare)

    def disconnect_viewer(self) -> None:
        """Hear nothing more of the viewer and its layers."""
        self.shown.disconnect_viewer()
        self._catching.disconnect_viewer()

    def leave(self) -> None:
        """Take in what has just happened, and do nothing more."""
        for key in list(self._subjects):
            self.catch(key)
        self.shown.leave()
        self._catching.leave()

    @property
    def waits(self) -> bool:
        """Whether something has happened to a layer that was not looked at yet."""
        return self._catching.waits

    # ---- images ----

    def set_work(self, key: str, work: Work, plane: Plane, diameter_px: float) -> None:
        """Show the dots and regions of an image.

        Regions that were drawn before, and are not in the work, become part of it.

        Parameters
        ----------
        key
            Of the image's layer.
        work
            Restored, or newly counted.
        plane
            The one that was counted.
        diameter_px
            Cell diameter.
        """
        known = self._subjects.get(key)
        if known is not None and known.work is work:
            self.catch(key)
        subject = self._subjects[key] = Subject(work, plane, diameter_px)
        self._know_classes(work.dots.label)
        self.shown.put(key)
        layer = region_layer(self.viewer.layers, key)
        if layer is not None and not in_hand(layer):
            there = {region.id for region in work.regions}
            drawn = all_regions_of(layer, plane)
            subject.regions = {region.id: region for region in drawn if region.id in there}
            self._catch_regions(key, subject, layer)
            self._show_regions(key, subject)
        elif layer is None:
            self._show_regions(key, subject)
        self._catching.hear()
        self.changed.emit(key)

    def adopt(self, key: str) -> bool:
        """Go on with a work that a dots layer brought along from a widget that was closed."""
        layer = dots_layer(self.viewer.layers, key)
        work = None if layer is None else kept(layer, "work")
        if work is None:
            return False
        self._subjects[key] = Subject(work, kept(layer, "plane"), kept(layer, "diameter_px"))
        self._know_classes(work.dots.label)
        regions = region_layer(self.viewer.layers, key)
        if regions is not None:
            self._subjects[key].regions = dict(kept(regions, "seen") or {})
        self.catch(key)
        self._catching.hear()
        self.changed.emit(key)
        return True

    def look_at(self, key: str, plane: Plane) -> None:
        """Give the figures of another plane of an image."""
        subject = self._subjects.get(key)
        if subject is None:
            return
        before, subject.plane = subject.plane, plane
        if (before.position, before.z_method) != (plane.position, plane.z_method):
            self.changed.emit(key)

    def forget(self, key: str) -> None:
        """Forget an image that was closed."""
        self._subjects.pop(key, None)

    def images(self) -> set[str]:
        """Keys of the images that are corrected."""
        return set(self._subjects)

    def show_regions_again(self) -> None:
        """Show regions whose layer was deleted: that is not what deletes regions."""
        self._again_soon.start(0)

    def _show_deleted(self) -> None:
        for key, subject in self._subjects.items():
            gone = region_layer(self.viewer.layers, key) is None
            if gone and subject.work.regions and self.shown.image(key) is not None:
                subject.regions = {}
                self._show_regions(key, subject)
                self._catching.hear()
                show_info("The regions are shown again: delete them in the table of regions.")

    def work(self, key: str | None) -> Work | None:
        """Return the work of an image; None where there is none."""
        subject = self._subjects.get(key or "")
        return None if subject is None else subject.work

    def subject(self, key: str | None) -> Subject | None:
        """Return what is corrected of an image; None where nothing is."""
        return self._subjects.get(key or "")

    def figures(self, key: str) -> Figures:
        """Return the figures of the plane that is looked at, or of what it was counted with."""
        dots = self.in_plane(key)
        removed = int(np.count_nonzero(dots.state == "removed"))
        return Figures(len(dots) - removed, int(np.count_nonzero(dots.state == "added")), removed)

    def in_plane(self, key: str) -> Dots:
        """Return the dots that were counted together, those that were removed included.

        Those of the plane that is looked at; of a projection or merged planes, of all z.
        """
        subject = self._subjects[key]
        dots = subject.work.dots
        here = subject.plane.own(dots)
        return dots if here.all() else dots[here]

    # ---- what a human does ----

    def add(self, key: str, yx: ArrayLike, plane: Sequence[int] | None = None) -> None:
        """Add dots of the current class; ``plane`` is where along the axes, as in view if None."""
        subject = self._subjects[key]
        image = self.shown.image(key)
        if plane is None and image is not None:
            plane = lead_in_view(image, self.viewer.dims)
        at = dict(zip(subject.plane.axes, plane or (), strict=False))
        self.do(
            key,
            corrections.add_dots(
                yx, t=at.get("T", 0), z=at.get("Z", 0), label=self.current_class,
                author=self.author,
            ),
        )  # fmt: skip

    def move(self, key: str, rows: ArrayLike, yx: ArrayLike) -> None:
        """Move dots of the layer to other places ``(n, 2)``."""
        self.do(key, corrections.move_dots(self._written(key), rows, yx))

    def remove(self, key: str, rows: ArrayLike | None = None) -> None:
        """Remove dots of the layer, the selected ones if None; removed ones come back."""
        rows = self.selected(key) if rows is None else rows
        self.do(key, corrections.remove_dots(self._written(key), rows))
        layer = dots_layer(self.viewer.layers, key)
        if layer is not None:  # else the next Delete would bring these back, not what is meant
            layer.selected_data = set()

    def confirm(self, key: str, rows: ArrayLike | None = None) -> None:
        """Confirm dots of the layer, the selected ones if None; confirmed ones are so no more."""
        rows = self.selected(key) if rows is None else rows
        self.do(key, corrections.confirm_dots(self._written(key), rows))

    def set_class(self, key: str, label: str) -> None:
        """Give the selected dots another class; without any, the next ones."""
        self._know_classes([label])
        rows = self.selected(key) if key in self._subjects else ()
        if len(rows):
            self.do(key, corrections.change_class(self._written(key), rows, label))
            return
        self.current_class = label
        layer = dots_layer(self.viewer.layers, key)
        if layer is not None:
            set_next_dot(layer, label, self.classes)
        self.classes_changed.emit()

    def rename_class(self, key: str, old: str, new: str) -> None:
        """Give a class another name, and its dots in the image with it."""
        if old not in self.classes or new in self.classes or not new:
            return
        self.classes[self.classes.index(old)] = new
        self.current_class = new if self.current_class == old else self.current_class
        work = self.work(key)
        if work is not None:
            self.catch(key)
            rows = np.flatnonzero(work.dots.label == old)
            self.do(key, corrections.change_class(work.dots, rows, new))
        self.classes_changed.emit()

    def undo(self, key: str) -> None:
        """Take the last edit back."""
        self._again(key, "undo")

    def redo(self, key: str) -> None:
        """Make the edit again that was taken back last."""
        self._again(key, "redo")

    def _again(self, key: str, which: str) -> None:
        subject = self._subjects.get(key)
        if subject is None or not self.catch(key):
            return
        edit = getattr(subject.work, which)()
        if edit is not None:
            self._show(key, subject, edit)

    def selected(self, key: str) -> NDArray[np.intp]:
        """Rows of the selected dots in their layer."""
        layer = dots_layer(self.viewer.layers, key)
        if layer is None or not self.catch(key):
            return np.empty(0, dtype=np.intp)
        return np.array(sorted(int(i) for i in layer.selected_data), dtype=np.intp)

    def do(self, key: str, edit: Edit | None) -> None:
        """Make an edit, and show it; None is none."""
        if edit is not None and self.catch(key):
            self._do(key, edit)

    def _do(self, key: str, edit: Edit) -> None:
        subject = self._subjects[key]
        self._show(key, subject, subject.work.do(edit))

    def _show(self, key: str, subject: Subject, edit: Edit) -> None:
        """Show an edit that is in the work already, and tell of it."""
        if self._in_hand(key):
            subject.stale = True
        else:
            self._write(key, subject, edit)
        self.edited.emit(key, edit)
        self.changed.emit(key)

    def _write(self, key: str, subject: Subject, edit: Edit) -> None:
        if any(change.item == "dot" for change in edit.changes):
            self.shown.update(key, edit.changes)
        if any(change.item == "region" for change in edit.changes):
            self._show_regions(key, subject)

    # ---- what is proposed ----

    def propose(
        self,
        key: str,
        dots: Dots,
        planes: Sequence[PlaneOf] | None = None,
        diameter_px: float | None = None,
    ) -> Proposal:
        """Put other proposals in place of those in some planes; what a human touched stays.

        Parameters
        ----------
        key
            Of the image.
        dots
            The proposals, all in these planes.
        planes
            Those that were counted, see ``project.propose``; None: the one that is looked at.
        diameter_px
            Cell diameter; None: the one before.

        Returns
        -------
        Proposal
            What has changed.
        """
        subject = self._subjects[key]
        self.catch(key)
        subject.diameter_px = diameter_px or subject.diameter_px
        proposal = propose(
            subject.work, dots, subject.diameter_px, planes=planes or [subject.plane.place]
        )
        if proposal.edit.changes:
            self._know_classes(dots.label)
            self._do(key, proposal.edit)
        return proposal

    # ---- what happens to the layers ----

    def catch(self, key: str) -> bool:
        """Take in what has happened to the layers of an image.

        Returns
        -------
        bool
            False while the user is in the middle of something there: then nothing is taken
            in, and nothing is to be written.
        """
        subject = self._subjects.get(key)
        if subject is None or self._tooled:
            return True
        if self._in_hand(key):
            return False
        layer = dots_layer(self.viewer.layers, key)
        if layer is not None and is_edited(layer):
            self._catch_dots(key, subject, layer)
        regions = region_layer(self.viewer.layers, key)
        if regions is not None:
            self._catch_regions(key, subject, regions)
        if subject.stale:
            subject.stale = False
            self.shown.put(key)
            self._show_regions(key, subject)
        return True

    @contextmanager
    def at_hand(self, key: str) -> Generator[None, None, None]:
        """Let our own tool make its edit while a click or drag is not quite over.

        The layer holds what the edit is going to say: it is not compared in between.
        """
        self._tooled = True
        try:
            yield
        finally:
            self._tooled = False
            self._catching.ask(key)

    def _in_hand(self, key: str) -> bool:
        if self._tooled:
            return False
        found = (find(self.viewer.layers, key) for find in (dots_layer, region_layer))
        return any(layer is not None and in_hand(layer) for layer in found)

    def _compare(self, key: str) -> None:
        if not self.catch(key):
            self._catching.ask(key)

    def _catch_dots(self, key: str, subject: Subject, layer: Points) -> None:
        now = dots_of(layer)
        edit = corrections.from_layer(kept(layer, "written"), now, subject.work.dots, self.author)
        if edit is not None:
            subject.work.do(edit)
            self._know_classes([c.after["class"] for c in edit.changes if c.after is not None])
        self.shown.rewrite(key, now, () if edit is None else edit.changes)
        if edit is not None:
            self.edited.emit(key, edit)
            self.changed.emit(key)

    def _catch_regions(self, key: str, subject: Subject, layer: Any) -> None:
        name_regions(layer)
        now, seen = all_regions_of(layer, subject.plane), subject.regions
        if [r.id for r in now] == list(seen) and all(_same(r, seen[r.id]) for r in now):
            return
        known = {region.id: region for region in subject.work.regions}
        self._see(subject, layer, now)
        # What was not touched stays as it is in the work, to the last digit.
        after = [known[r.id] if r.id in known and r.id in seen and _same(r, seen[r.id]) else r
                 for r in now]  # fmt: skip
        there = {region.id for region in now}
        after += [r for r in subject.work.regions if r.id not in seen and r.id not in there]
        edit = corrections.change_regions(subject.work.regions, after, subject.work.dots)
        if edit is not None:
            subject.work.do(edit)
            self.shown.update(key, edit.changes)
            self.edited.emit(key, edit)
            self.changed.emit(key)

    def _see(self, subject: Subject, layer: Any, now: Sequence[Region]) -> None:
        subject.regions = {region.id: region for region in now}
        keep(layer, seen=subject.regions)

    def _show_regions(self, key: str, subject: Subject) -> None:
        """Write the regions of an image into their layer, where it holds others."""
        layer, image = region_layer(self.viewer.layers, key), self.shown.image(key)
        regions = subject.work.regions
        if image is None or (layer is None and not regions):
            return
        if layer is None:
            layer = show_regions(self.viewer, image, subject.plane)
        seen = {region.id: region for region in all_regions_of(layer, subject.plane)}
        if list(seen) != [r.id for r in regions] or not all(_same(r, seen[r.id]) for r in regions):
            replace_regions(layer, subject.plane, regions)
        self._see(subject, layer, all_regions_of(layer, subject.plane))

    def _written(self, key: str) -> Dots:
        layer = dots_layer(self.viewer.layers, key)
        return Dots.new() if layer is None else kept(layer, "written")

    def _know_classes(self, labels: Any) -> None:
        """Add classes to the list, in the order of their names."""
        new = sorted(set(np.unique(np.asarray(labels, dtype=np.str_)).tolist()) - set(self.classes))
        if new:
            self.classes += new
            self.classes_changed.emit()


def _same(one: Region, other: Region) -> bool:
    return region_record(one) == region_record(other)
