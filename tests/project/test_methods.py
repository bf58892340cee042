"""The methods paragraph: true for any number of anything, and good English."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from celltally.project.counts import StoredCount
from celltally.project.figures import Figures
from celltally.project.images import ImageEntry
from celltally.project.methods import Agreed, methods, paragraph
from celltally.project.study import StudyRow, rows
from celltally.project.study_lock import Lock
from celltally.types import Dots, Interval

COUNT = StoredCount(
    1, 1, 0, 0, "plane", "", "general", "ab" * 32, "c" * 64, ("cell",), 100.0,
    Interval(90, 110, 0.95, "calibrated"), 14.0, 0.5, 0.5, True, 1.0, "2024-05-06T07:08:09",
)  # fmt: skip


def row(number=1, *, states=(), share=0.0, kind="calibrated", count=COUNT, flags=(), t=0, **entry):
    figures = Figures(
        number,
        t,
        z_method="plane" if count is None else count.z_method,
        count=100.0,
        interval=Interval(90, 110, 0.95, kind),
        states=dict(states),
        area_px=1000.0,
        reviewed_share=share,
    )
    return StudyRow(ImageEntry(number, f"{number}.tif", **entry), figures, count, flags)


def text(*study, **options):
    return paragraph(study, version="1.2.3", **options)


def test_one_image_that_nobody_touched():
    assert text(row()) == (
        "Cells were counted in one image with Celltally 1.2.3. The model was 'general' (sha256 "
        "abababababab). The cell diameter was 14 pixels. Dots were placed at the threshold at "
        "which the number of dots is nearest to the integral of the density. No part of the "
        "images was reviewed by hand. No dot was changed by hand. Intervals (95 %) are "
        "split-conformal, from the model's errors on images that it had not learned from."
    )


def test_a_whole_study():
    states = {"proposed": 90, "added": 5, "removed": 1, "moved": 0, "confirmed": 1200}
    other = replace(COUNT, model="old", model_sha256="cd" * 32, diameter_px=20.0, threshold=0.7)
    study = [
        row(1, states=states, share=1.0, kind="exact", well="A01", replicate="1", condition="x"),
        row(2, share=0.5, well="A02", replicate="2", condition="x"),
        row(3, count=other, well="B01", replicate="1", condition="y", kind="not calibrated",
            flags=("counted with another model (old)", "interval not calibrated")),
        row(4, count=None, well="B01", replicate="1", condition="y", flags=("not counted",)),
    ]  # fmt: skip
    found = text(
        *study,
        authors=("Ada", "Grace"),
        lock=Lock("general", "ab" * 32, diameter_px=14, at="2024-05-06T07:08:09", by="Ada"),
        agreed=Agreed("Ada", "Grace", 20, 0.93, -1.25, -6.0, 3.5, 0.81),
    )
    for sentence in (
        "Cells were counted in three images from three wells, two replicates and two conditions "
        "with Celltally 1.2.3. One further image of the project was not counted by a model.",
        "Two models were used: 'general' (sha256 abababababab; two counts) and 'old' (sha256 "
        "cdcdcdcdcdcd; one count).",
        "The cell diameter differed between images (median 14 pixels, 14 to 20).",
        "in one count it was moved by hand.",
        "The model, the cell diameter and the threshold rule were fixed for the whole study on "
        "2024-05-06.",
        "38 % of the area was reviewed by hand, in two of four image planes;",
        "1 206 dots were checked or corrected by two people: five added, one removed and "
        "1 200 confirmed.",
        "One of three counts has complete review, so that the count is exact.",
        "One of three counts has no calibrated interval.",
        "In 20 fields that both counted, the F1 score of Ada and Grace was 0.93, with a mean "
        "difference of −1.2 cells per field (95 % limits of agreement −6.0 to +3.5) and Cohen's "
        "kappa of 0.81 for the classes.",
        "One count was marked “counted with another model”.",
    ):
        assert sentence in found


@pytest.mark.parametrize(
    ("states", "people", "sentence"),
    [
        ({"added": 1}, 1, "One dot was added by one person."),
        ({"added": 2}, 1, "Two dots were added by one person."),
        ({"moved": 1, "removed": 1}, 2, "Two dots were checked or corrected by two people: one"),
        ({"confirmed": 11}, 0, "11 dots were confirmed by hand."),
        ({"proposed": 5}, 1, "No dot was changed by hand."),
    ],
)
def test_numbers_of_edits_read_well(states, people, sentence):
    assert sentence in text(row(states=states), authors=["someone"] * people)


def test_stacks_and_time():
    projected = row(1, count=replace(COUNT, z_method="projection"))
    merged = row(2, count=replace(COUNT, z_method="merged"), t=1)
    found = text(projected, merged)
    assert "One count was made in maximum projections over z." in found
    assert "In one stack dots of neighbouring z planes" in found
    assert "Two time points were counted separately." in found


def test_one_threshold_everywhere():
    moved = replace(COUNT, threshold=0.25)
    assert "Dots were placed at a threshold of 0.25." in text(row(1, count=moved))


def test_nothing():
    assert text() == "No image was counted."
    found = text(row(count=None))
    assert found.startswith("Cells were counted in no images with Celltally")
    assert not re.search(r"nan|None|\{|  ", found)


def test_of_a_project(store, image_id, count_image, put):
    count_image(image_id)
    put(image_id, Dots.new([(5, 5)], state="added"), author="Grace")
    found = methods(store, rows(store))
    assert "The model was 'tiny' (sha256 aaaaaaaaaaaa)." in found
    assert "One dot was added by one person." in found
