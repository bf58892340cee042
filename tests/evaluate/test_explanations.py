"""Measures of explanations, on a network and images whose answers are known."""

import json
import math
from dataclasses import replace
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
import torch

from celltally.errors import UserError
from celltally.evaluate import explanations as module
from celltally.evaluate.explanations import (
    PER_PROTOTYPE,
    ImageMeasures,
    explanation_figures,
    iter_measure,
    per_prototype,
)
from celltally.evaluate.purity import JudgedBox
from celltally.evaluate.report import iter_evaluate
from celltally.explain.boxes import Box
from celltally.learn.push import iter_project
from celltally.model import Model
from celltally.networks import build
from celltally.predict import predict
from celltally.progress import drain

CPU = torch.device("cpu")


def judged(k, kind, pure, similarity=2.0):
    return JudgedBox(Box(k, kind, 0.0, 0.0, 2.0, 2.0, similarity), pure)


@pytest.fixture
def images():
    """Prototypes 0 and 1 are cell, 2 and 3 background; 3 has no box."""
    first = [judged(0, "cell", True), judged(0, "cell", True, 3.0), judged(1, "cell", False)]
    second = [judged(1, "cell", False), judged(1, "cell", True), judged(2, "background", True)]
    again = {"noise": (2, 3), "noise_kind": (3, 3), "turn": (1, 3), "turn_kind": (2, 3)}
    return [
        ImageMeasures(first, 1e-7, 10.0, 4.0, 9.0, again),
        ImageMeasures(second, 3e-7, 30.0, 16.0, 31.0, again),
        ImageMeasures([], 2e-7),
    ]


def test_figures_by_hand(tiny_model, images):
    figures = explanation_figures(tiny_model, images, 5)
    assert figures["cell_purity"] == pytest.approx(3 / 5)
    assert figures["background_purity"] == 1
    assert figures["mixed_cell_prototypes"] == 0.5
    assert figures["mixed_background_prototypes"] == 0
    assert (figures["cell_boxes"], figures["background_boxes"]) == (5, 1)
    assert figures["silent_prototypes"] == 1
    assert figures["blank_boxes"] == 5
    assert figures["additivity_error"] == 3e-7
    assert figures["removed_share"] == pytest.approx(20 / 40)
    assert figures["removed_share_random"] == pytest.approx(0.0)
    assert figures["noise_same"] == pytest.approx(2 / 3)
    assert figures["noise_same_kind"] == 1
    assert figures["turn_same"] == pytest.approx(1 / 3)
    assert figures["turn_same_kind"] == pytest.approx(2 / 3)
    assert figures["tolerance"] == 0.2
    assert figures["prototypes"] == 4


def test_figures_of_the_prototypes_themselves(tiny_model, images):
    vectors = torch.zeros(4, 8)
    vectors[0, 0] = vectors[1, 0] = vectors[2, 1] = vectors[3, 2] = 1.0
    vectors[1, 1] = 0.1
    tiny_model.network.set_prototypes(vectors)
    figures = explanation_figures(tiny_model, images, 0)
    cosine = 1 / math.sqrt(1.01)
    assert figures["mean_cosine"] == pytest.approx(cosine / 2, abs=1e-6)
    assert figures["excess_cosine"] == pytest.approx((cosine - 0.2) / 2, abs=1e-6)
    assert figures["least_distance"] == pytest.approx(0.1, abs=1e-6)
    assert figures["distinct_prototypes"] == 3


def test_a_row_per_prototype(tiny_model, images):
    table = per_prototype(tiny_model, images).set_index("prototype")
    assert ("prototype", *table.columns) == PER_PROTOTYPE
    assert table["boxes"].tolist() == [2, 3, 1, 0]
    assert table["images"].tolist() == [1, 2, 1, 0]
    assert table["purity"].tolist()[:3] == pytest.approx([1, 1 / 3, 1])
    assert math.isnan(table["purity"][3])
    assert table["mixed"].tolist() == [False, True, False, None]
    assert table["greatest_similarity"].tolist()[:2] == [3.0, 2.0]
    assert table["nearest"].tolist() == [1, 0, 3, 2]
    weight, _ = tiny_model.network.contribution_weights
    assert table["weight"].tolist() == pytest.approx(weight[0].tolist())


def test_without_dots_there_is_no_purity(tiny_model):
    measured = [ImageMeasures([judged(0, "cell", None)], 0.0)]
    figures = explanation_figures(tiny_model, measured, 0)
    for name in ("cell_purity", "background_purity", "mixed_cell_prototypes", "removed_share",
                 "noise_same", "turn_same_kind"):  # fmt: skip
        assert math.isnan(figures[name])
    assert figures["cell_boxes"] == 1


@pytest.fixture(params=["tally", "countxplain"])
def model(request, tiny_config, prepared_images):
    """A network whose prototypes are real places, so that some box is there."""
    torch.manual_seed(0)
    config = tiny_config if request.param == "tally" else {"width": 1 / 16, "depth": 8}
    network = build(request.param, config).eval()
    drain(iter_project(network, prepared_images(counts=[6, 7]), nominal_px=12.0, device=CPU))
    return Model.from_network(network, name=request.param, diameter_px=12.0)


@pytest.fixture
def field(draw_cells, scatter):
    rng = np.random.default_rng(3)
    yx = scatter(7, (64, 72), rng)
    return draw_cells(yx, (64, 72), rng=rng), yx


def measure(model, field, **options):
    pixels, yx = field
    counted = predict(model, pixels, diameter_px=12.0, device="cpu")
    settings = {"change": True, "rng": np.random.default_rng(0), "device": "cpu"} | options
    return drain(iter_measure(model, pixels, counted, yx, 12.0, **settings))


def test_an_image_is_measured(model, field):
    measured = measure(model, field)
    assert measured.difference < 1e-4
    assert measured.boxes
    assert {type(j.pure) for j in measured.boxes} == {bool}
    assert math.isfinite(measured.removed)
    assert math.isfinite(measured.removed_elsewhere)
    for name in ("noise", "turn"):
        again, number = measured.again[name]
        assert again <= measured.again[f"{name}_kind"][0] <= number == len(measured.boxes)
    unchanged = measure(model, field, change=False)
    assert unchanged.count is None
    assert unchanged.again == {}


def test_a_wrong_sum_is_seen(model, field, monkeypatch):
    """The measure of additivity can fail."""
    compare = module.iter_similarities

    def wrong(*words, **options):
        found = yield from compare(*words, **options)
        return replace(found, bias=found.bias + 0.01)

    monkeypatch.setattr(module, "iter_similarities", wrong)
    assert measure(model, field, change=False).difference > 1e-3


def test_removing_the_boxes_of_a_counter_that_sees_cells_lowers_its_count(
    model, field, monkeypatch
):
    """A box around every cell, and a prediction that counts what is bright."""
    pixels, yx = field
    boxes = [Box(0, "cell", y - 2, x - 2, y + 2, x + 2, 2.0) for y, x in yx[:1]]
    monkeypatch.setattr(module, "judge_boxes", lambda *a: [JudgedBox(b, True) for b in boxes])

    def count(model, pixels, **options):
        counted = yield from module_predict(model, pixels, **options)
        return replace(counted, density=np.float32(pixels > 100)[None])

    module_predict = module.iter_predict
    monkeypatch.setattr(module, "iter_predict", count)
    measured = measure(model, field)
    bright = (pixels > 100).sum()
    assert measured.removed < bright
    assert measured.removed < measured.removed_elsewhere <= bright + 100


def test_evaluate_measures_explanations(dataset_folder, tiny_model, tmp_path):
    tiny_model.save(tmp_path / "model")
    data, out = dataset_folder("cells", [4, 6]), tmp_path / "out"
    job = iter_evaluate(data, model=tmp_path / "model", out=out, explanations=True, device="cpu")
    report = drain(job)
    assert not report.failed
    assert report.explanations["prototypes"] == 4
    written = json.loads((out / "metrics.json").read_text())
    assert written["explanations"].keys() == report.explanations.keys()
    assert written["explanations"]["additivity_error"] < 1e-4
    assert len(pd.read_csv(out / "explanations.csv")) == 4
    plain = drain(iter_evaluate(data, model=tmp_path / "model", device="cpu"))
    assert plain.metrics == pytest.approx(report.metrics, nan_ok=True)
    assert "explanations" not in plain.to_dict()


def test_a_model_without_prototypes_is_refused_before_anything_is_counted(
    dataset_folder, tiny_config, tmp_path, monkeypatch
):
    del tiny_config["prototypes"]
    plain = Model.from_network(build("tally_plain", tiny_config), name="plain", diameter_px=12.0)
    plain.save(tmp_path / "plain")
    monkeypatch.setattr(import_module("celltally.predict"), "iter_predict", None)
    job = iter_evaluate(
        dataset_folder("cells", [4]), model=tmp_path / "plain", explanations=True, device="cpu"
    )
    with pytest.raises(UserError, match="'plain' has no prototypes"):
        drain(job)


def test_only_some_images_of_a_large_set_are_changed(tiny_model):
    explaining = module.Explaining(tiny_model, 25, 10, "cpu")
    assert sum(explaining.change) == 10
    assert explaining.change[0]
    assert explaining.change[-1]
    assert not any(module.Explaining(tiny_model, 25, 0, "cpu").change)
