"""A section that can be folded away to its title."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QToolButton, QVBoxLayout, QWidget

from celltally._napari.controls import Section

__all__ = ["FoldingSection"]


class FoldingSection(Section):
    """A titled part of a widget, folded until it is asked for; its parts go into ``body``."""

    def __init__(self, title: str) -> None:
        super().__init__("")
        self.title.setVisible(False)
        self.fold_button = QToolButton()
        self.fold_button.setText(title)
        self.fold_button.setCheckable(True)
        self.fold_button.setAutoRaise(True)
        self.fold_button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.fold_button.setStyleSheet(
            "QToolButton { font-weight: bold; border: none; background: transparent; padding: 0; }"
        )
        self.fold_button.toggled.connect(self._unfold)
        inner = QWidget()
        self.body = QVBoxLayout(inner)
        self.body.setContentsMargins(0, 0, 0, 0)
        self.body.setSpacing(5)
        self._inner = inner
        self.column.addWidget(self.fold_button)
        self.column.addWidget(inner)
        self._unfold(False)

    @property
    def unfolded(self) -> bool:
        """Whether its parts are shown."""
        return bool(self.fold_button.isChecked())

    def unfold(self) -> None:
        """Show its parts."""
        self.fold_button.setChecked(True)

    def _unfold(self, unfolded: bool) -> None:
        self.fold_button.setArrowType(
            Qt.ArrowType.DownArrow if unfolded else Qt.ArrowType.RightArrow
        )
        self._inner.setVisible(unfolded)
