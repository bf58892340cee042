"""Where the models come from that counted a study: told, and known when they are gone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from celltally.project.lineage import lineages, remember_lineages
from celltally.project.methods import methods
from celltally.project.sheet import records
from celltally.project.study import rows
from celltally.record import Learned, ModelRecord

GENERAL, FIRST, SECOND = "aa" * 32, "bb" * 32, "cc" * 32


def model(name, sha256, parent=None, *, project="study", regions=0, stated=0):
    learned = None
    if regions:
        learned = Learned(
            project=project, by=("Ada",), date="2026-01-02T03:04", images=3, regions=regions,
            stated=stated, excluded=0, dots=9, corrected=4, kept_back=1, audits=0, helped=True,
            metrics={},
        )  # fmt: skip
    return ModelRecord(
        name, "tally", {}, 16.0, {}, 2, 64, 10, parent=parent, learned=learned, sha256=sha256
    )


@pytest.fixture
def at_hand():
    return [
        model("general", GENERAL),
        model("mine", FIRST, GENERAL, regions=10, stated=2),
        model("mine 2", SECOND, FIRST, regions=1, project="last year"),
    ]


@pytest.fixture
def counted(store, image_id, count_image):
    count_image(image_id, model="mine 2", sha256=SECOND)
    return store


def test_a_chain_is_told_with_its_regions(counted, at_hand):
    assert lineages(counted, at_hand) == {
        SECOND: "fine-tuned from 'mine' (sha256 bbbbbbbbbbbb) on 1 region of 'last year', itself "
        "fine-tuned from 'general' (sha256 aaaaaaaaaaaa) on 12 regions of this study",
        FIRST: "fine-tuned from 'general' (sha256 aaaaaaaaaaaa) on 12 regions of this study",
    }


def test_it_is_known_when_the_models_are_gone(counted, at_hand):
    told = lineages(counted, at_hand)
    assert lineages(counted) == {}
    remember_lineages(counted, at_hand)
    assert lineages(counted) == told
    remember_lineages(counted, [])
    assert lineages(counted) == told


def test_models_that_counted_nothing_are_not_kept(counted, at_hand):
    remember_lineages(counted, [*at_hand, model("unused", "dd" * 32, GENERAL, regions=3)])
    assert set(counted.setting("lineage")) == {GENERAL, FIRST, SECOND}


def test_a_parent_that_is_gone_is_named_by_its_hash(counted, at_hand):
    (text,) = lineages(counted, at_hand[2:]).values()
    assert text == "fine-tuned from a model (sha256 bbbbbbbbbbbb) on 1 region of 'last year'"


def test_a_model_that_claims_to_be_its_own_parent_ends(counted):
    (text,) = lineages(counted, [model("odd", SECOND, SECOND, regions=2)]).values()
    assert text.count("fine-tuned") == 1


def test_methods_and_sheets_tell_it(counted, at_hand):
    study = rows(counted)
    told = lineages(counted, at_hand)
    assert "The model was 'mine 2' (sha256 cccccccccccc), fine-tuned from 'mine'" in methods(
        counted, study, lineages=told
    )
    assert "fine-tuned" not in methods(counted, study)
    remember_lineages(counted, at_hand)
    assert "on 12 regions of this study." in methods(counted, study)
    assert records(study, lineages=told)[0]["model_lineage"] == told[SECOND]
    assert records(study)[0]["model_lineage"] is None


def test_of_several_models_each_is_told(counted, at_hand, count_image):
    from celltally.project.images import register

    other = register(counted, name="b.tif", shape=(100, 120))
    count_image(other, model="general", sha256=GENERAL)
    text = methods(counted, rows(counted), lineages=lineages(counted, at_hand))
    assert "two models were used" in text.lower()
    assert "'mine 2' was fine-tuned from 'mine'" in text
    assert "'general' was" not in text


def test_the_lock_knows_the_calibrations_of_bases(counted, at_hand, monkeypatch):
    from celltally.project import lineage, study_lock

    own, base = {"calibration.json": "e1"}, {"calibration.json": "c" * 64}
    child = replace(at_hand[2], files=own | {"base/model.json": "f1"})
    bases = {child.sha256: replace(at_hand[0], files=base)}
    monkeypatch.setattr(lineage, "read_base", lambda record: bases.get(record.sha256))
    assert lineage.calibrations_of(child) == ("e1", "c" * 64)
    remember_lineages(counted, [child])
    # Most of what was counted so far was counted by the base.
    held = study_lock.lock(counted, study_lock.suggested_lock(counted))
    assert held.calibrations == ("e1", "c" * 64)
    assert study_lock.locked(counted) == held
    assert held.holds(SECOND, "e1")
    assert held.holds(SECOND, "c" * 64)
    assert not held.holds(SECOND, "d1")
    assert not held.holds(FIRST, "e1")
