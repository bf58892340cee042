"""Which project is open, and how another one is opened."""

from __future__ import annotations

import pytest
from qtpy.QtWidgets import QFileDialog, QMessageBox

from celltally._napari.project_bar import ProjectBar
from celltally._napari.saving import Saving
from celltally.project.edits import Edit, diff_dots
from celltally.project.store import Store
from celltally.types import Dots

pytestmark = pytest.mark.gui


@pytest.fixture
def bar(qtbot):
    saving = Saving()
    bar = ProjectBar(saving)
    qtbot.addWidget(bar)
    qtbot.addWidget(bar.trouble)
    yield bar
    saving.close()


@pytest.fixture
def choose(monkeypatch):
    """Stands in for the file dialogs."""

    def choose(path):
        for name in ("getOpenFileName", "getSaveFileName"):
            monkeypatch.setattr(QFileDialog, name, lambda *a, **k: (str(path), ""))

    return choose


def test_without_a_choice_it_says_my_counts(bar):
    assert bar.button.text().startswith("My counts")
    assert "every edit" in bar.button.toolTip()
    assert bar.mark.text() == ""
    assert bar.trouble.isHidden()


def test_my_counts_stays_open_where_it_is_chosen_again(bar, qtbot):
    saving = bar._saving
    saving.open()
    qtbot.waitUntil(lambda: saving.store is not None and not saving.busy)
    place, switched = saving.store.path, []
    saving.switched.connect(lambda: switched.append(True))
    bar.unnamed_action.trigger()
    qtbot.waitUntil(lambda: not saving.busy)
    assert (saving.store.path, switched) == (place, [])


def test_a_new_project_is_made_where_one_wants_it(bar, choose, qtbot, tmp_path):
    choose(tmp_path / "plate 3")
    bar.new_action.trigger()
    qtbot.waitUntil(lambda: bar.button.text().startswith("plate 3"))
    assert (tmp_path / "plate 3.celltally").is_file()


def test_an_existing_one_is_opened_and_not_written_over(bar, choose, qtbot, tmp_path):
    path = tmp_path / "old.celltally"
    with Store(path) as store:
        store.set_setting("mine", 7)
    choose(path)
    bar.new_action.trigger()
    qtbot.waitUntil(lambda: bar.button.text().startswith("old"))
    assert bar._saving.store.setting("mine") == 7


def test_a_file_of_something_else_is_refused_and_the_open_project_stays(
    bar, choose, qtbot, tmp_path, monkeypatch
):
    said = []
    monkeypatch.setattr("napari.utils.notifications.show_error", said.append)
    (tmp_path / "cells.csv").write_text("y,x\n1,2\n3,4\n5,6\n")
    choose(tmp_path / "cells.csv")
    bar.open_action.trigger()
    qtbot.waitUntil(lambda: bool(said))
    assert "is no project" in said[0]
    assert (tmp_path / "cells.csv").read_text().startswith("y,x")


@pytest.mark.parametrize("answer", ["Yes", "No"])
def test_one_that_is_open_elsewhere_may_be_read(bar, choose, qtbot, tmp_path, monkeypatch, answer):
    path = tmp_path / "shared.celltally"
    asked = []

    def question(_parent, _title, words, *_):
        asked.append(words)
        return getattr(QMessageBox.StandardButton, answer)

    monkeypatch.setattr(QMessageBox, "question", question)
    with Store(path):
        choose(path)
        bar.open_action.trigger()
        qtbot.waitUntil(lambda: bool(asked))
        assert "open in another program" in asked[0]
        if answer == "Yes":
            qtbot.waitUntil(lambda: "(reading)" in bar.button.text())
            assert "not kept" in bar.trouble.text()
            bar._saving._kept(None)  # a job that was still under way
            assert "not kept" in bar.trouble.text()
        else:
            assert bar._saving.store is None


def test_the_mark_tells_when_something_was_saved(bar, qtbot):
    from napari.layers import Image
    from numpy import zeros

    dots = Dots.new([[1, 2]], state="added")
    bar._saving.keep_edit(Image(zeros((8, 8))), Edit("add", diff_dots(Dots.new(), dots)))
    qtbot.waitUntil(lambda: bar.mark.text().startswith("Saved "))
    assert bar.mark.text()[-3] == ":"
