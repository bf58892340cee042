from __future__ import annotations

import json
import threading
from dataclasses import asdict

import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage

from celltally._napari import model_section
from celltally._napari.counting import Looked
from celltally._napari.jobs import Job, Jobs
from celltally.published import PUBLISHED
from celltally.record import Learned, PatchRecord, PrototypeRecord
from celltally.types import Appearances, Calibration, Progress

pytestmark = pytest.mark.gui


def write_model(folder, make_record, pictures):
    """A folder with a calibration and prototypes of which the first have pictures."""
    (folder / "prototypes").mkdir(parents=True)
    seen = Calibration(
        1.0, 0.0, 1.0, (1.0,), n=1, groups=1, date="", ranges={"contrast": (1.0, 2.0)}
    )
    (folder / "calibration.json").write_text(json.dumps(asdict(seen)))
    prototypes, files = [], {"calibration.json": "00"}
    for i in range(pictures + 1):
        png = f"{i}.png" if i < pictures else None
        if png:
            QImage(64, 64, QImage.Format.Format_RGB32).save(str(folder / "prototypes" / png))
            files[f"prototypes/{png}"] = "00"
        kind = "background" if i else "cell"
        prototypes.append(PrototypeRecord(kind, (PatchRecord("discs", "a", 1.0, 1.0, 0.9, png),)))
    (folder / "prototypes" / "prototypes.json").write_text(
        json.dumps([asdict(p) for p in prototypes])
    )
    return make_record(name=folder.name, path=folder, files=files)


@pytest.fixture
def section(qtbot, tmp_path, make_record, monkeypatch):
    records = [write_model(tmp_path / f"with{n}", make_record, n) for n in (2, 9, 0)]

    def models():
        yield Progress(0, 0)
        return records

    monkeypatch.setattr(model_section, "list_models_job", models)
    section = model_section.ModelSection(Jobs())
    qtbot.addWidget(section)
    section.show()
    qtbot.waitUntil(lambda: not section.loading)
    return section


def test_an_older_list_that_ends_last_is_not_taken(section, qtbot, monkeypatch, make_record):
    go_on, ended = threading.Event(), threading.Event()
    known = section.records()

    def slow():
        yield Progress(0, 0)
        go_on.wait(10)
        ended.set()
        return known

    def quick():
        yield Progress(0, 0)
        return [*known, make_record(name="new", sha256="ee" * 32)]

    monkeypatch.setattr(model_section, "list_models_job", slow)
    section.reload()
    qtbot.wait(50)
    monkeypatch.setattr(model_section, "list_models_job", quick)
    section.choose("new")
    qtbot.waitUntil(lambda: not section.loading)
    go_on.set()
    qtbot.waitUntil(lambda: ended.is_set() and not Job._alive)
    assert section.record.name == "new"


def test_a_listed_model_is_read_beside_the_window(section, qtbot, monkeypatch):
    real, read = model_section.lineup, []

    def lineup(record):
        read.append((record.name, threading.current_thread() is threading.main_thread()))
        return real(record)

    monkeypatch.setattr(model_section, "lineup", lineup)
    section.choose("with9")
    qtbot.waitUntil(lambda: not section.loading)
    assert section.record.name == "with9"
    assert read == [("with9", False)]
    section.model_box.setCurrentIndex(section.model_box.findText("with2"))
    assert read[1:] == [("with2", True)]


def test_prototypes_are_shown_where_there_are_pictures(section):
    assert len(section.pictures) == 2
    assert section.pictures[0].toolTip() == "Cell, from the data set discs"
    assert section.pictures[1].toolTip().startswith("Background")
    assert section.pictures[0].pixmap().width() == model_section.PICTURE_PX
    assert section.looks_for.isVisible()
    section.model_box.setCurrentIndex(1)
    assert len(section.pictures) == model_section.MOST_PICTURES
    assert section.minimumSizeHint().width() < 290
    section.model_box.setCurrentIndex(2)
    assert section.pictures == []
    assert not section.looks_for.isVisible()


def test_what_is_unlike_is_told_without_reading_again(section, monkeypatch):
    monkeypatch.setattr(model_section, "read_calibration", None)
    section.warn(16.0, Looked(None, 16.0, {"contrast": 1.5}))
    assert section.warning.text() == ""
    section.warn(16.0, Looked(None, 16.0, {"contrast": 0.5}))
    assert section.warning.text().startswith("Unlike the training images: contrast")
    section.warn(16.0)
    assert section.warning.text() == ""


def test_the_model_that_would_count_says_what_is_unlike(section, make_record, monkeypatch):
    def looks(level):
        return Appearances(("level_50",), (0.1,), ((level,),), ("a",))

    def calibration(low, high, looks):
        ranges = {"contrast": (low, high)}
        return Calibration(1.0, 0.0, 1.0, (1.0,), 1, 1, "", ranges=ranges, appearances=looks)

    learned = Learned(
        project="", by=(), date="", images=1, regions=1, stated=0, excluded=0, dots=1,
        corrected=0, kept_back=0, audits=0, helped=None, metrics={}, looks=looks(1.0),
    )  # fmt: skip
    child = make_record(learned=learned)
    parts = [
        (child, calibration(5.0, 6.0, None)),
        (make_record(), calibration(1.0, 2.0, looks(0.0))),
    ]
    monkeypatch.setattr(section, "_lineup", parts)
    for level, contrast, strange in ((0.0, 1.5, False), (0.0, 5.5, True), (1.0, 5.5, False)):
        section.warn(16.0, Looked(None, 16.0, {"contrast": contrast}, {"level_50": level}))
        assert bool(section.warning.text()) is strange


@pytest.fixture
def listed(qtbot, make_record, monkeypatch):
    """Builds the section with models of these names and networks."""

    def build(*models):
        def job():
            yield Progress(0, 0)
            return [make_record(name=name, network=network) for name, network in models]

        monkeypatch.setattr(model_section, "list_models_job", job)
        section = model_section.ModelSection(Jobs())
        qtbot.addWidget(section)
        section.show()
        qtbot.waitUntil(lambda: not section.loading)
        return section

    return build


def entries(section):
    return [section.model_box.itemText(i) for i in range(section.model_box.count())]


def test_published_architectures_stand_apart(listed, qtbot):
    section = listed(
        ("general", "tally"), ("mine", "dilated"), ("a-csrnet", "csrnet"), ("fpn", "fpn_counter")
    )
    heading = model_section.HEADING
    assert entries(section) == ["general", "mine", "", heading, "a-csrnet", "fpn"]
    names = [section.record.name]
    for _ in range(4):
        qtbot.keyClick(section.model_box, Qt.Key.Key_Down)
        names.append(section.record.name)
    assert names == ["general", "mine", "a-csrnet", "fpn", "fpn"]
    assert section.problem() is None


def test_without_published_architectures_there_is_no_heading(listed):
    assert entries(listed(("general", "tally"), ("mine", "dilated"))) == ["general", "mine"]


def test_the_first_model_is_chosen_whatever_group_it_is_in(listed):
    section = listed(("general", "csrnet"), ("nuclei", "tally"))
    assert entries(section) == ["nuclei", "", model_section.HEADING, "general"]
    assert section.record.name == "general"


def test_listing_again_leaves_no_heading_behind(listed, monkeypatch, make_record, qtbot):
    section = listed(("general", "tally"), ("a-csrnet", "csrnet"))

    def one():
        yield Progress(0, 0)
        return [make_record(name=name) for name in ("general", "b", "c", "d")]

    monkeypatch.setattr(model_section, "list_models_job", one)
    section.reload()
    qtbot.waitUntil(lambda: not section.loading)
    assert entries(section) == ["general", "b", "c", "d"]
    assert all(section.model_box.model().item(row).isEnabled() for row in range(4))


def test_the_card_says_which_architecture_it_is(listed, make_record):
    section = listed(("general", "tally"), ("a-csrnet", "csrnet"))
    assert "comparison" not in section.card.text()
    section.model_box.setCurrentText("a-csrnet")
    line = section.card.text().splitlines()[0]
    assert line == "CSRNet (Li et al. 2018), made smaller, for comparison."
    details = section.card.toolTip()
    assert max(map(len, details.splitlines())) < 80
    details = details.replace("\n", " ")
    assert PUBLISHED["csrnet"].use in details
    assert PUBLISHED["csrnet"].paper in details
    assert "Settings changed from the paper's: none" in details
    full = make_record(network="csrnet", parameters=PUBLISHED["csrnet"].parameters)
    assert "CSRNet (Li et al. 2018), for comparison." in model_section.card_text(full)


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        ("Nuclei in Hoechst.", "For nuclei in Hoechst."),
        ("U2OS nuclei", "For U2OS nuclei."),
        ("HeLa cells", "For HeLa cells."),
        ("H&E-stained tissue", "For H&E-stained tissue."),
    ],
)
def test_names_keep_their_capitals(make_record, sample, words):
    assert model_section.card_text(make_record(sample=sample)).startswith(words)
