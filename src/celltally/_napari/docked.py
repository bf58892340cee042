"""A widget of ours in a dock: its parts below each other, and its end."""

from __future__ import annotations

from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import (
    QDockWidget,
    QFrame,
    QMainWindow,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from celltally._napari.collecting import give_back
from celltally._napari.controls import Column

__all__ = ["Docked"]

#: Pixels that a dock of ours needs at least.
WIDTH = 310


class Docked(QWidget):
    """Scrolls its parts where they do not fit, lies beside our others, and ends with its dock.

    napari puts a new dock below those that are there, where ours have no room, and takes
    a widget out of a dock that is closed, and lets it live on.
    """

    def __init__(self) -> None:
        super().__init__()
        self._moved_in = QTimer(self)
        self._moved_in.setSingleShot(True)  # later, for its dock has no place yet
        self._moved_in.timeout.connect(self._join_others)
        self._undocked = QTimer(self)
        self._undocked.setSingleShot(True)  # later, for it may be docked elsewhere at once
        self._undocked.timeout.connect(self._close_undocked)

    def lay_out(self, *parts: QWidget) -> None:
        """Put the parts below each other."""
        inner = Column()
        column = QVBoxLayout(inner)
        column.setContentsMargins(8, 8, 8, 8)
        column.setSpacing(7)
        for part in parts:
            column.addWidget(part)
        column.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidget(inner)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._area = scroll
        self._instead: QWidget | None = None
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scroll)
        self.setMinimumWidth(WIDTH)

    def show_instead(self, part: QWidget | None) -> None:
        """Show a part in the place of all others; None: all others again."""
        outer = self.layout()
        before = self._instead
        if before is not None and before is not part:
            before.hide()
        self._instead = part
        if part is not None and outer is not None:
            outer.addWidget(part)
            part.show()
        self._area.setVisible(part is None)

    def bring_into_view(self, part: QWidget) -> None:
        """Scroll until a part is seen, where it is laid out already."""
        self._area.ensureWidgetVisible(part, 0, 8)

    def leave(self) -> None:
        """Hear nothing more of the viewer, and end what runs; called before the end."""

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802  (Qt's name)
        """Notice that it was put into a dock, or that its dock was closed."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.ParentChange:
            (self._undocked if self.parent() is None else self._moved_in).start(0)

    def _join_others(self) -> None:
        """Become a tab beside another dock of ours on the same side of the window."""
        dock = self.parentWidget()
        window = dock.parentWidget() if isinstance(dock, QDockWidget) else None
        if not isinstance(window, QMainWindow) or dock.isFloating():
            return
        for other in window.findChildren(QDockWidget):
            ours = other is not dock and isinstance(other.widget(), Docked)
            seen = not (other.isHidden() or other.isFloating())
            if ours and seen and window.dockWidgetArea(other) == window.dockWidgetArea(dock):
                window.tabifyDockWidget(other, dock)
                dock.raise_()
                return

    def _close_undocked(self) -> None:
        if self.parent() is None:
            self.leave()
            self.deleteLater()
            give_back(self)
