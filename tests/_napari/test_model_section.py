from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from qtpy.QtGui import QImage

from celltally._napari import model_section
from celltally._napari.counting import Looked
from celltally._napari.jobs import Jobs
from celltally.record import PatchRecord, PrototypeRecord
from celltally.types import Calibration, Progress

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
