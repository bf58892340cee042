"""Models before and after, on regions that taught nothing."""

from __future__ import annotations

import pytest

from celltally.density.regions import region_sums
from celltally.learn.regions.judge import iter_judge
from celltally.learn.regions.plan import make_region_plan
from celltally.predict import predict
from celltally.progress import drain


def test_what_is_excluded_is_not_judged(
    tiny_model, reviewed_folder, reviewed_images, rectangle, write_dots
):
    """Nobody said what is there: neither the dots nor the density of it is counted."""
    regions = [
        rectangle(0, 0, 64, 40, "audit"), rectangle(20, 0, 64, 40, "exclude"),
        rectangle(0, 44, 64, 72),
    ]  # fmt: skip
    folder = reviewed_folder([1], {0: regions})
    write_dots(folder, "cells-0", [(10, 10), (30, 30), (50, 10), (40, 60)])
    images = reviewed_images(folder)
    plan = make_region_plan(images, 0)
    (judged,) = drain(iter_judge(tiny_model, tiny_model, plan.judges(), device="cpu"))
    assert judged.counts.counted == 1
    prediction = predict(tiny_model, images[0].pixels(), diameter_px=12.0, device="cpu")
    count, variance = region_sums(prediction).over(rectangle(0, 0, 20, 40).polygon)
    assert judged.counts.before == judged.counts.after == pytest.approx(max(count, 0.0))
    assert judged.audit.variance == pytest.approx(variance)
    assert not judged.audit.whole
