"""Another model in a locked study: it asks first, and *Recount all* shows what would change."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from celltally import intervals, zoo
from celltally._napari import recount_window, study_follow
from celltally._napari.layers import dots_layer
from celltally._napari.planes import key_of
from celltally._napari.recount_table import COLUMNS, DIFFERENCE
from celltally._napari.study import StudyWidget
from celltally.errors import UserError
from celltally.project import counts, images, study_lock, work
from celltally.project.edits import Edit, diff_dots, diff_regions
from celltally.project.recounts import RECOUNT
from celltally.project.store import Store
from celltally.types import Dots, Region

pytestmark = pytest.mark.gui

SHAPE = (120, 160)
CELLS = np.array([[20.0, 30.0], [50.0, 80.0], [90.0, 40.0], [100.0, 130.0]])
NAMES = ("A2_s1.tif", "A10_s1.tif", "B1_s2.tif")


@pytest.fixture(autouse=True)
def _models(tiny, monkeypatch):
    """The only model at hand is the tiny one; the study was counted with another."""
    monkeypatch.setattr(zoo, "user_models_dir", lambda: tiny.parent)
    monkeypatch.setattr(zoo, "shipped_models_dir", lambda: tiny.parent / "none")


@pytest.fixture
def project(tmp_path, fake_prediction, draw_cells):
    """Three images, counted by *fake* and locked to it; the first was reviewed in part."""
    path = tmp_path / "screen.celltally"
    with Store(path, author="Anna") as store:
        for i, name in enumerate(NAMES):
            pixels = draw_cells(CELLS[: 2 + i], SHAPE)
            tifffile.imwrite(tmp_path / name, pixels)
            number = images.register(store, name=name, path=tmp_path / name, shape=SHAPE)
            images.set_columns(store, {number: {"condition": "drug" if i else "control"}})
            prediction = fake_prediction(weights=[1, 1, 1, 1 + i])
            dots = Dots.new(CELLS, score=np.linspace(0.6, 0.9, 4), source="ab" * 32)
            interval = intervals.of(prediction)
            counts.add_prediction(store, number, prediction, interval, dots, threshold=0.5)
            work.record(store, number, Edit("count", diff_dots(Dots.new(), dots), "system"))
        corner = np.array([(0, 0), (0, 60), (60, 60), (60, 0)], dtype=float)
        region = Region(corner, "reviewed")
        work.record(store, 1, Edit("draw", diff_regions((), [region]), "edit"))
        study_lock.lock(store, study_lock.suggested_lock(store))
    return path


@pytest.fixture
def opened(viewer, qtbot, monkeypatch):
    """Opens the Study widget on a project."""
    monkeypatch.setattr(study_follow, "QUIET", 20)
    widgets = []

    def opened(path, **options):
        widget = StudyWidget(viewer)
        widgets.append(widget)
        viewer.window.add_dock_widget(widget, name="Study", area="bottom")
        viewer.window._qt_window.show()
        widget.saving.open(path, **options)
        qtbot.waitUntil(
            lambda: (
                getattr(widget.saving.store, "path", None) == path
                and not widget.saving.busy
                and not widget.busy
            ),
            timeout=20_000,
        )
        return widget

    yield opened
    for widget in widgets:
        widget.leave()


@pytest.fixture
def window(opened, project, qtbot, click):
    """The window, opened from the table of the study."""
    study = opened(project)
    click(study.bar.recount_button)
    window = study.dialog
    qtbot.waitUntil(lambda: not window.busy)
    return window


def recount(window, qtbot, click):
    click(window.start_button)
    assert window.busy
    qtbot.waitUntil(lambda: not window.busy, timeout=60_000)


def texts(window, head):
    column = [c.head for c in COLUMNS].index(head)
    model = window.table.differences
    return [model.index(row, column).data() for row in range(model.rowCount())]


def test_it_shows_what_would_change_and_changes_nothing(window, qtbot, click):
    store = window._saving.store
    assert window.record.name == "tiny"
    assert not window.use_button.isEnabled()
    before = counts.latest_counts(store)
    recount(window, qtbot, click)
    assert counts.latest_counts(store) == before
    assert sorted(texts(window, "Image")) == sorted(NAMES)
    model = window.table.differences
    sizes = [abs(model.difference(row).difference) for row in range(3)]
    assert sizes == sorted(sizes, reverse=True)
    assert window.table.horizontalHeader().sortIndicatorSection() == DIFFERENCE
    corrected = dict(zip(texts(window, "Image"), texts(window, "Corrected before"), strict=True))
    assert [bool(corrected[name]) for name in NAMES] == [True, False, False]
    totals = window.totals
    assert [totals.item(row, 0).text() for row in range(2)] == ["control", "drug"]
    assert totals.isColumnHidden(1)  # there is one time point
    assert "recounted 3 images" in window.words.text()
    assert window.use_button.isEnabled()


def test_rows_that_stand_out_are_marked(window, qtbot, click):
    recount(window, qtbot, click)
    model = window.table.differences
    role = Qt.ItemDataRole.BackgroundRole
    marked = [model.index(row, 0).data(role) is not None for row in range(3)]
    assert marked == [model.difference(row).stands_out for row in range(3)]
    assert any(marked)
    assert "stand" in window.words.text()


def test_a_click_on_a_head_sorts(window, qtbot, click):
    recount(window, qtbot, click)
    head = window.table.horizontalHeader()
    x = head.sectionViewportPosition(0) + 10
    point = head.viewport().rect().center()
    point.setX(x)
    qtbot.mouseClick(head.viewport(), Qt.MouseButton.LeftButton, pos=point)
    if head.sortIndicatorOrder() != Qt.SortOrder.AscendingOrder:
        qtbot.mouseClick(head.viewport(), Qt.MouseButton.LeftButton, pos=point)
    assert texts(window, "Image") == list(NAMES)  # A2 before A10


def test_the_new_version_is_used_and_the_study_locked_to_it(window, opened, qtbot, click):
    study, saving = window.parent(), window._saving
    recount(window, qtbot, click)
    shown = {
        window.table.differences.difference(row).entry.name: window.table.differences.difference(
            row
        ).after.in_study
        for row in range(3)
    }
    click(window.use_button)
    assert window.using is not None
    qtbot.waitUntil(lambda: study.dialog is None, timeout=60_000)
    qtbot.waitUntil(lambda: not saving.busy and not study.busy, timeout=20_000)
    assert {c.model for c in counts.in_force(counts.latest_counts(saving.store))} == {"tiny"}
    assert study_lock.locked(saving.store).model == "tiny"
    qtbot.waitUntil(lambda: saving.held.model == "tiny")
    assert "tiny" in study.status.message.text()
    for row in study.rows:
        assert row.figures.count == pytest.approx(shown[row.entry.name])
        assert not any("another model" in flag for flag in row.flags)


def test_left_it_is_gone_and_the_study_as_it_was(window, qtbot, click, project):
    study, store = window.parent(), window._saving.store
    before = counts.latest_counts(store)
    recount(window, qtbot, click)
    assert list(project.parent.glob(f"*{RECOUNT}"))
    click(window.leave_button)
    qtbot.waitUntil(lambda: study.dialog is None)
    assert not list(project.parent.glob(f"*{RECOUNT}*"))
    assert counts.latest_counts(store) == before
    assert study_lock.locked(store).model == "fake"


def test_cancelled_it_goes_on_there(window, qtbot, click, monkeypatch):
    real = recount_window.recount_job
    seen = []

    def watched(store, record):
        for step in (job := real(store, record)):
            seen.append(step)
            if len(seen) > 2:
                window._job.cancel()
            yield step
        return job

    monkeypatch.setattr(recount_window, "recount_job", watched)
    click(window.start_button)
    qtbot.waitUntil(lambda: not window.busy, timeout=60_000)
    assert "Cancelled" in window.words.text()
    assert not window.use_button.isEnabled()
    monkeypatch.setattr(recount_window, "recount_job", real)
    recount(window, qtbot, click)
    assert window.table.differences.rowCount() == 3


def test_the_cancel_button_ends_it(window, qtbot, click):
    click(window.start_button)
    assert window.cancel_button.isVisible()
    click(window.cancel_button)
    assert not window.cancel_button.isEnabled()
    qtbot.waitUntil(lambda: not window.busy, timeout=60_000)
    assert "Cancelled" in window.words.text()
    assert window.start_button.isEnabled()


def test_cancelled_while_it_comes_into_force_nothing_has(window, qtbot, click, monkeypatch):
    store = window._saving.store
    recount(window, qtbot, click)
    before = counts.latest_counts(store)
    real = recount_window.use_job

    def slow(*of):
        job = real(*of)
        try:
            for step in job:
                if step.done == 1:
                    QApplication.instance()  # on the job's thread: the button is clicked below
                    while not window._job._cancelled:
                        yield step
                yield step
        finally:
            job.close()

    monkeypatch.setattr(recount_window, "use_job", slow)
    click(window.use_button)
    qtbot.waitUntil(lambda: window._job is not None)
    click(window.using.cancel_button)
    qtbot.waitUntil(lambda: not window.busy, timeout=20_000)
    assert "Cancelled. The counts in force are as they were." in window.problem.text()
    assert counts.latest_counts(store) == before
    assert study_lock.locked(store).model == "fake"
    assert window.use_button.isEnabled()


def test_what_goes_wrong_is_told(window, qtbot, click, monkeypatch):
    def fails(*_):
        raise UserError("the disk is full")
        yield

    monkeypatch.setattr(recount_window, "recount_job", fails)
    recount(window, qtbot, click)
    assert window.problem.text() == "The disk is full."
    assert not window.use_button.isEnabled()


def test_a_project_that_may_only_be_read_shows_differences(opened, project, qtbot, click):
    study = opened(project, read_only=True)
    click(study.bar.recount_button)
    window = study.dialog
    qtbot.waitUntil(lambda: not window.busy)
    recount(window, qtbot, click)
    assert window.table.differences.rowCount() == 3
    assert not window.use_button.isEnabled()
    assert "reading only" in window.problem.text()


def test_the_table_is_saved(window, qtbot, click, tmp_path):
    recount(window, qtbot, click)
    window.save(tmp_path / "differences.csv")
    qtbot.waitUntil(lambda: "Saved differences.csv" in window.words.text())
    lines = (tmp_path / "differences.csv").read_text().splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("image,t,z,z_method")


def test_the_newest_child_of_the_locked_model_is_suggested(
    opened, project, qtbot, click, monkeypatch, make_record
):
    def models():
        yield from ()
        children = {"mine": "2026-01-01", "mine 2": "2026-03-01", "mine 1": "2026-02-01"}
        return [
            make_record(),
            make_record(name="aside", sha256="cd" * 32),
            *(
                make_record(name=name, sha256=f"{i}e" * 32, parent="ab" * 32, created=created)
                for i, (name, created) in enumerate(children.items())
            ),
        ]

    monkeypatch.setattr(recount_window, "list_models_job", models)
    study = opened(project)
    click(study.bar.recount_button)
    qtbot.waitUntil(lambda: not study.dialog.busy)
    assert study.dialog.record.name == "mine 2"


# ---- asking before another model is used ----


@pytest.fixture
def locked(tally, viewer, image, press, qtbot):
    """Tally after a count by *fake*, in a study that is locked to it; *other* is chosen."""
    viewer.window._qt_window.show()
    viewer.add_image(image, name="cells")
    press(tally)
    saving = tally.saving
    qtbot.waitUntil(lambda: saving.store is not None and not saving.busy)
    study_lock.lock(saving.store, study_lock.suggested_lock(saving.store))
    saving.read_lock()
    tally.model.model_box.setCurrentIndex(1)
    assert tally.model.record.name == "other"
    return tally


def ask(tally, start, qtbot):
    start(tally)
    qtbot.waitUntil(lambda: tally.other_model.box is not None)
    return tally.other_model


def test_another_model_asks_before_it_counts(locked, counter, start, qtbot, click):
    asked = ask(locked, start, qtbot)
    assert len(counter.calls) == 1
    words = asked.box.text()
    assert "locked to fake (abababab)" in words
    assert "Count with other (cdcdcdcd) instead?" in words
    click(asked.once_button)
    qtbot.waitUntil(lambda: len(counter.calls) == 2)
    qtbot.waitUntil(lambda: not locked.running and not locked.saving.busy)
    assert counter.calls[-1][1].name == "other"


def test_the_locked_model_is_kept(locked, counter, start, qtbot, click):
    asked = ask(locked, start, qtbot)
    click(asked.keep_button)
    qtbot.waitUntil(lambda: asked.box is None)
    assert locked.model.record.name == "fake"
    assert len(counter.calls) == 1
    assert "fake is chosen again" in locked.count_section.message.text()
    start(locked)  # which asks nothing
    qtbot.waitUntil(lambda: len(counter.calls) == 2)
    qtbot.waitUntil(lambda: not locked.running)


def test_escape_keeps_the_locked_model(locked, counter, start, qtbot):
    asked = ask(locked, start, qtbot)
    qtbot.keyClick(asked.box, Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: asked.box is None)
    assert locked.model.record.name == "fake"
    assert len(counter.calls) == 1


def test_a_recount_is_opened_with_the_model(locked, counter, start, qtbot, click, monkeypatch):
    def models():
        yield from ()
        return locked.model.records()

    monkeypatch.setattr(recount_window, "list_models_job", models)
    asked = ask(locked, start, qtbot)
    click(asked.recount_button)
    qtbot.waitUntil(lambda: locked.recounting is not None and not locked.recounting.busy)
    assert locked.recounting.record.name == "other"
    assert len(counter.calls) == 1
    locked.recounting.close()
    qtbot.waitUntil(lambda: locked.recounting is None)


def test_the_locked_model_does_not_ask(locked, counter, press):
    locked.model.model_box.setCurrentIndex(0)
    press(locked)
    assert locked.other_model.box is None
    assert len(counter.calls) == 2


def test_an_unlocked_study_does_not_ask(locked, counter, press):
    study_lock.unlock(locked.saving.store)
    locked.saving.read_lock()
    press(locked)
    assert locked.other_model.box is None
    assert counter.calls[-1][1].name == "other"


def test_dots_that_are_open_follow_the_new_version(
    project, opened, open_tally, viewer, qtbot, click, tmp_path
):
    study = opened(project)
    tally = open_tally(viewer)
    viewer.open(str(tmp_path / NAMES[1]), plugin="napari")
    qtbot.waitUntil(lambda: tally.image.layer is not None)
    layer = tally.image.layer
    qtbot.waitUntil(lambda: dots_layer(viewer.layers, key_of(layer)) is not None, timeout=20_000)
    before = set(dots_layer(viewer.layers, key_of(layer)).features["id"])
    click(study.bar.recount_button)
    window = study.dialog
    qtbot.waitUntil(lambda: not window.busy)
    recount(window, qtbot, click)
    click(window.use_button)
    qtbot.waitUntil(lambda: study.dialog is None, timeout=60_000)
    qtbot.waitUntil(lambda: not study.saving.busy and not study.busy, timeout=20_000)

    def now():
        dots = dots_layer(viewer.layers, key_of(layer))
        return before if dots is None else set(dots.features["id"])

    wanted = set(work.load_dots(study.saving.store, 2).id)
    qtbot.waitUntil(lambda: now() == wanted, timeout=20_000)
    assert not wanted & before
