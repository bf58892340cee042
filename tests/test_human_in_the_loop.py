"""The simulated biologist: what is reviewed, what judges, and which images are drawn."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from celltally.learn.regions.reviewed import iter_reviewed
from celltally.progress import drain

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def loop(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return import_module("human_in_the_loop")


@pytest.fixture
def biologist(loop):
    return import_module("loop_lib.biologist")


@pytest.fixture
def target(loop, dataset_folder, tmp_path):
    """Sixteen images of eight groups, half of them to be reviewed, and two of ``val``."""
    groups = {f"blobs-{i}": f"well {i // 2}" for i in range(16)}
    folder = tmp_path / "blobs"
    dataset_folder("blobs", [6] * 16, shape=(96, 96), folder=folder / "train", groups=groups)
    dataset_folder("blobs", [5, 4], shape=(96, 96), folder=folder / "val")
    return loop.Target.read(folder, 24)


def test_half_of_the_images_are_reviewed_and_the_others_test(target):
    reviewed = {sample.image for sample in target.pool}
    assert len(reviewed) == 8
    assert len(target.test) == 10
    assert not reviewed & {sample.image for sample in target.test}


def test_a_seed_draws_a_share_of_the_images(target):
    draws = [target.drawn(0.5, seed) for seed in (0, 0, 1)]
    stems = [[sample.stem for sample in one.pool] for one in draws]
    assert [len(one) for one in stems] == [4, 4, 4]
    assert stems[0] == stems[1] != stems[2]
    assert set(stems[0]) <= {sample.stem for sample in target.pool}
    assert draws[0].test == target.test
    assert len(target.drawn(0.1, 0).pool) == 4  # fewer would leave no other images to choose from
    assert list(target.drawn(1.0, 3).pool) == list(target.pool)


def test_what_is_audited_lies_in_groups_that_teach_nothing(loop, biologist, target):
    groups = {sample.stem: sample.group for sample in target.pool}
    taught = next(s for s in groups if list(groups.values()).count(groups[s]) > 1)
    sibling = next(s for s in groups if s != taught and groups[s] == groups[taught])
    tile = biologist.Tile(taught, (-0.5, -0.5, 47.5, 47.5))
    audits = loop.to_audit(target, [tile], 24, 48.0, 0)
    assert {one.stem for one in audits} == set(groups) - {taught, sibling}
    assert len(audits) == len(groups) - 2
    assert loop.to_audit(target, [tile], 1, 48.0, 0) == audits[:1]
    assert loop.to_audit(target, [tile], 0, 48.0, 0) == []


def test_audits_are_written_as_such(loop, biologist, target, tmp_path):
    line = loop.in_random_order(target, 48.0, 0)
    audits = loop.to_audit(target, line[:2], 2, 48.0, 0)
    one = biologist.Biologist(target.dataset, target.pool, None)
    work = []
    for name, more in (("alone", ()), ("audited", audits)):
        (tmp_path / name).mkdir()
        work.append(one.review(line[:2], tmp_path / name, audits=more))
    images, _ = drain(iter_reviewed([tmp_path / "audited"], 12.0))
    kinds = {i.sample.stem: (len(i.teaching), len(i.judging)) for i in images}
    assert np.sum(list(kinds.values()), axis=0).tolist() == [2, 2]
    assert all(kinds[tile.stem][1] == 1 for tile in audits)
    cells, corrected = work[1]
    assert work[0] == work[1]  # what only judges is no teaching
    assert 0 < cells == corrected  # without a model all dots are added


def test_the_table_tells_rounds_of_all_images_from_those_of_a_share(loop, tmp_path):
    rows = [
        {"start": "a", "order": "", "regions": 0, "mae": 20.0},
        *({"start": "a", "share": share, "seed": seed, "mae": mae}
          for share, seed, mae in ((1.0, 0, 10.0), (1.0, 1, 6.0), (0.5, 0, 4.0))),
        {"start": "nothing", "share": 1.0, "mae": 7.0},
    ]  # fmt: skip
    usual = {"target": "t", "order": "random", "labels": "dots", "regions": 5, "n": 4}
    counted = {"with_interval": 4, "covered": 3}
    path = tmp_path / "loop.csv"
    pd.DataFrame([usual | counted | row for row in rows], columns=loop.FIELDS).to_csv(
        path, index=False
    )
    assert loop.table(path).splitlines()[2:] == [
        "| t | a | random, of 50% of the images | dots | 20.0 | 4.0 (20%) | 3 of 4 |",
        "| t | a | random | dots | 20.0 | 8.0 (40%) | 6 of 8 |",
        "| t | nothing | random | dots |  | 7.0 | 3 of 4 |",
    ]
    loop.draw(path, tmp_path / "loop.png")
    assert (tmp_path / "loop.png").stat().st_size > 1000


def test_what_is_suggested_is_of_the_images_that_were_drawn(loop, target, tiny_model):
    candidates = loop.candidates_of(tiny_model, target, 48.0)
    drawn = target.drawn(0.5, 1)
    line = loop.in_suggested_order(drawn, candidates, 3)
    assert len(line) == 3
    assert {tile.stem for tile in line} <= {sample.stem for sample in drawn.pool}
