"""The intervals of a child, and which regions may make them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from celltally.appearance import APPEARANCE
from celltally.intervals import known_appearances
from celltally.learn.regions.judge import iter_judge
from celltally.learn.regions.plan import make_region_plan
from celltally.learn.regions.recalibrated import UNMEASURED, recalibrated
from celltally.learn.seen import image_hash
from celltally.model import Model
from celltally.progress import drain
from celltally.record import Learned
from celltally.types import Calibration

CALIBRATION = Calibration(1.0, 0.0, 4.0, tuple(np.linspace(0, 2, 40)), 40, 40, "2024-01-01")


@pytest.fixture
def audited(reviewed_folder, reviewed_images, rectangle):
    """A plan: one image that only teaches, one with both, and 20 with an audit region only."""
    audit = rectangle(0, 0, 32, 32, "audit")
    regions = {1: [rectangle(0, 32, 32, 64), audit], **{i: [audit] for i in range(2, 22)}}
    folder = reviewed_folder([4, 8, *[4] * 20], regions, shape=(32, 64))
    return make_region_plan(reviewed_images(folder), 0)


def audits_of(model, plan):
    judged = drain(iter_judge(model, model, plan.judges(), device="cpu"))
    return [one.audit for one in judged if one.judge == "audit"]


def test_images_that_taught_make_no_interval(tiny_model, audited):
    parent = tiny_model.with_calibration(CALIBRATION)
    audits = audits_of(parent, audited)
    assert len(audits) == 21
    made = recalibrated(tiny_model, parent, audited, audits).calibration
    assert made.audits.groups == 20
    assert made.kind == "calibrated"


def test_nor_do_images_that_taught_the_parent(tiny_model, audited):
    before = [image_hash(image.sample) for image in audited.audited[1:]]
    child = replace(tiny_model, record=replace(tiny_model.record, taught_by=tuple(before)))
    parent = tiny_model.with_calibration(CALIBRATION)
    made = recalibrated(child, parent, audited, audits_of(parent, audited)).calibration
    assert made.kind == "provisional"
    assert made.scores == pytest.approx([UNMEASURED * s for s in CALIBRATION.scores])


def test_images_that_the_base_counts_make_no_interval(tiny_model, audited):
    """The base keeps its own calibration."""
    shown = [image.scaled.appearance for image in audited.audited]
    other = [{name: value + 50.0 for name, value in look.items()} for look in shown]
    groups = [image.sample.group for image in audited.audited]
    base = tiny_model.with_calibration(
        replace(CALIBRATION, appearances=known_appearances(shown, groups, APPEARANCE))
    )
    learned = Learned(
        project="", by=(), date="", images=1, regions=1, stated=0, excluded=0, dots=1, corrected=0,
        kept_back=0, audits=0, helped=None, metrics={},
        looks=known_appearances(other, groups, APPEARANCE),
    )  # fmt: skip
    child = Model.from_network(
        tiny_model.network, name="child", diameter_px=12.0, base=base, learned=learned
    )
    made = recalibrated(child, base, audited, audits_of(child, audited)).calibration
    assert made.kind == "provisional"
    assert made.audits.groups == 0
