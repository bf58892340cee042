"""Maps and proposals as blobs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from celltally.project.packing import pack_dots, pack_map, unpack_dots, unpack_map
from celltally.types import Dots


def sums(values):
    return values.sum(axis=(1, 2), dtype=np.float64)


def check(values):
    values = np.asarray(values, dtype=np.float32)
    back = unpack_map(pack_map(values))
    assert (back.shape, back.dtype) == (values.shape, np.float32)
    largest = np.abs(values).max(axis=(1, 2), keepdims=True, initial=0)
    np.testing.assert_array_less(
        np.abs(back - values), 2e-3 * np.abs(values) + 1e-5 * largest + 1e-37
    )
    np.testing.assert_allclose(
        sums(back), sums(values), rtol=1e-9, atol=1e-7 * largest.max(initial=0)
    )
    return back


@pytest.mark.parametrize("side", [1, 7, 512])
def test_a_density_keeps_its_values_and_its_sum(side):
    rng = np.random.default_rng(side)
    density = rng.gamma(0.05, 0.02, (1, side, side + 3)).astype(np.float32)
    back = check(density)
    assert np.abs(back - density).max() <= 6e-4 * density.max()
    assert back.sum(dtype=np.float64) == pytest.approx(density.sum(dtype=np.float64), abs=1e-7)


def test_maps_of_very_different_size():
    rng = np.random.default_rng(0)
    small, large = rng.gamma(1, 1e-9, (40, 40)), rng.gamma(1, 1, (40, 40))
    back = check(np.stack([small, large, np.zeros_like(small)]))
    assert np.allclose(back[0], small, rtol=2e-3, atol=1e-14)


def test_negative_densities_whose_sum_is_small():
    rng = np.random.default_rng(0)
    density = rng.normal(0, 0.01, (1, 400, 400)).astype(np.float32)
    density -= density.mean() - 1e-7
    back = check(density)
    assert sums(back)[0] == pytest.approx(sums(density)[0], abs=1e-8)
    assert (np.sign(back) == np.sign(density)).mean() > 0.999


@pytest.mark.parametrize("shape", [(0, 5, 5), (1, 0, 0), (2, 0, 3), (1, 1, 1), (3, 4, 5)])
def test_empty_maps(shape):
    back = check(np.zeros(shape))
    assert not back.any()


@settings(deadline=None, max_examples=60)
@given(arrays(np.float32, (2, 4, 3), elements=st.floats(-1e6, 1e6, width=32)))
def test_any_map(values):
    check(values)


def test_what_is_not_finite_stays_so_and_spoils_no_other_map():
    values = np.ones((2, 3, 3), np.float32)
    values[0, 0, 0] = np.nan
    back = unpack_map(pack_map(values))
    assert np.isnan(sums(back)[0])
    assert (back[1] == 1).all()


def test_half_the_size_of_the_values_at_most():
    rng = np.random.default_rng(0)
    noise = rng.random((1, 300, 300)).astype(np.float32)
    assert len(pack_map(noise)) < 0.55 * noise.nbytes
    assert len(pack_map(np.zeros((1, 2048, 2048), np.float32))) < 50_000


def test_proposals(dots):
    proposed = dots(50, label=["a", "ü"] * 25, source="f" * 64)
    back = unpack_dots(pack_dots(proposed), source="f" * 64)
    for name in ("id", "yx", "t", "z", "label", "score", "state", "source"):
        np.testing.assert_array_equal(getattr(back, name), getattr(proposed, name))


def test_no_proposals():
    assert len(unpack_dots(pack_dots(Dots.new()), source="")) == 0
