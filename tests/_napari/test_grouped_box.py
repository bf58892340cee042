from __future__ import annotations

import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QColor, QPalette, QWheelEvent
from qtpy.QtWidgets import QApplication

from celltally._napari.grouped_box import GroupedBox

pytestmark = pytest.mark.gui


@pytest.fixture
def box(qtbot):
    """Two entries, a heading, two more."""
    box = GroupedBox()
    qtbot.addWidget(box)
    box.addItem("pear")
    box.addItem("plum")
    box.add_heading("Prickly")
    box.addItem("cactus")
    box.addItem("rose")
    box.show()
    return box


def turn_wheel(box, steps):
    centre = QPointF(box.rect().center())
    event = QWheelEvent(
        centre, centre, QPoint(), QPoint(0, 120 * steps), Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(box, event)


def texts(box):
    return [box.itemText(i) for i in range(box.count())]


def test_a_line_and_a_heading_stand_between_groups(box):
    assert texts(box) == ["pear", "plum", "", "Prickly", "cactus", "rose"]
    assert box.currentText() == "pear"


def test_nothing_stands_above_the_first_group(qtbot):
    box = GroupedBox()
    qtbot.addWidget(box)
    box.add_heading("Prickly")
    box.addItem("cactus")
    assert texts(box) == ["Prickly", "cactus"]


@pytest.mark.parametrize("popup", [False, True], ids=["closed", "open"])
def test_keys_go_past_a_heading(box, qtbot, popup):
    target = box
    if popup:
        box.showPopup()
        target = box.view()
    for wanted in ("plum", "cactus", "rose"):
        qtbot.keyClick(target, Qt.Key.Key_Down)
        assert target.currentIndex().data() == wanted if popup else box.currentText() == wanted
    for wanted in ("cactus", "plum"):
        qtbot.keyClick(target, Qt.Key.Key_Up)
        assert target.currentIndex().data() == wanted if popup else box.currentText() == wanted
    if popup:
        box.hidePopup()


def test_typing_finds_no_heading(box, qtbot):
    for letter in "prick":
        qtbot.keyClicks(box, letter)
        assert box.currentText() in {"pear", "plum"}


def test_the_wheel_goes_past_a_heading(box):
    seen = []
    box.currentTextChanged.connect(seen.append)
    for _ in range(3):
        turn_wheel(box, -1)
    assert seen == ["plum", "cactus", "rose"]
    turn_wheel(box, 1)
    turn_wheel(box, 1)
    assert seen[3:] == ["cactus", "plum"]


def test_a_click_on_a_heading_chooses_nothing(box, qtbot):
    box.showPopup()
    view = box.view()
    row = texts(box).index("Prickly")
    place = view.visualRect(box.model().index(row, 0)).center()
    qtbot.mouseMove(view.viewport(), place)
    qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert box.currentText() == "pear"
    box.hidePopup()


def test_a_heading_is_drawn_like_the_entries(box, qtbot):
    """As dark as them, and bold, whatever is usual for what cannot be chosen."""
    ground, ink = QColor("white"), QColor("black")
    palette = box.palette()
    for group in (QPalette.ColorGroup.Active, QPalette.ColorGroup.Inactive):
        palette.setColor(group, QPalette.ColorRole.Base, ground)
        palette.setColor(group, QPalette.ColorRole.Text, ink)
    palette.setColor(QPalette.ColorGroup.Disabled, QPalette.ColorRole.Text, ground)
    view = box.view()
    view.setPalette(palette)
    box.showPopup()
    qtbot.waitUntil(view.isVisible)
    picture = view.viewport().grab().toImage()

    def inked(name):
        rect = view.visualRect(box.model().index(texts(box).index(name), 0))
        rect = rect.intersected(picture.rect())
        return sum(
            picture.pixelColor(x, y).lightness() < 60
            for x in range(rect.left() + 1, rect.right() - 1)
            for y in range(rect.top() + 1, rect.bottom() - 1)
        )

    assert inked("Prickly") > inked("cactus") > 0
    box.hidePopup()


def test_clearing_forgets_the_headings(box):
    box.clear()
    assert box.count() == 0
    for name in ("a", "b", "c", "d"):
        box.addItem(name)
    view = box.view()
    delegates = {view.itemDelegateForRow(row) for row in range(4)}
    assert delegates == {None}
