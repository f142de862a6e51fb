"""Bytes before there is a file: the entropy bound is the combinatorial one, and samples zip as real files do."""

import math
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safedeploy.plan.sizes import encoded_bytes, position_bytes, zip_bytes_a_weight

COUNTS = st.integers(1, 400).flatmap(lambda weights: st.tuples(st.just(weights), st.integers(0, weights)))


@given(COUNTS)
def test_places_cost_the_logarithm_of_the_number_of_choices(counts):
    weights, kept = counts
    assert position_bytes(weights, kept) == pytest.approx(math.log2(math.comb(weights, kept)) / 8, abs=1e-6)


@given(COUNTS)
def test_places_cost_no_more_than_a_bit_a_weight_by_shannon(counts):
    """log₂ C(n, k) ≤ n·H(k/n) (Cover and Thomas, theorem 11.1.3)."""
    weights, kept = counts
    p = kept / weights
    entropy = 0.0 if p in (0, 1) else -p * math.log2(p) - (1 - p) * math.log2(1 - p)
    assert position_bytes(weights, kept) * 8 <= weights * entropy + 1e-6


def test_more_kept_than_there_are_is_a_fault():
    with pytest.raises(ValueError, match="5 kept of 4"):
        position_bytes(4, 5)


@given(COUNTS, st.sampled_from(["float32", "int8"]))
def test_encoding_never_costs_more_than_storing_every_weight(counts, precision):
    weights, kept = counts
    size = {"float32": 4, "int8": 1}[precision]
    assert kept * size <= encoded_bytes(weights, kept, precision) <= weights * size


@pytest.mark.parametrize("density", [0.05, 0.3, 1.0])
def test_the_sample_zips_as_a_layer_ten_times_its_size(density):
    weight = np.random.default_rng(5).standard_normal((512, 576), dtype=np.float32)
    cut = np.quantile(np.abs(weight), 1 - density)
    weight[np.abs(weight) < cut] = 0
    real = len(zlib.compress(weight.tobytes(), 9)) / weight.size
    assert zip_bytes_a_weight(density, 576, "float32", zeros=True) == pytest.approx(real, rel=0.03)


def test_zeros_zip_but_not_to_nothing():
    """Deflate spends more on the places than the bound: that is what the encoder gains on zip."""
    for density in (0.02, 0.1, 0.5):
        bound = encoded_bytes(1 << 15, round(density * (1 << 15)), "int8") / (1 << 15)
        assert zip_bytes_a_weight(density, 576, "int8", zeros=True) > bound
