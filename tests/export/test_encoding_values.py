"""Rounded weights: zeros and shapes kept, nothing left to round, exact products, errors against known quantisers."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from safedeploy.export.encoding.values import ROUNDINGS, Rounding, int8_levels, palette, round_values

PALETTES: list[Rounding] = ["palette4", "palette5", "palette6", "palette7", "palette8"]
WEIGHTS = arrays.arrays(
    np.float32,
    arrays.array_shapes(min_dims=1, max_dims=4, max_side=9),
    elements=st.floats(-1e4, 1e4, width=32, allow_subnormal=False) | st.just(0.0),
)


def sparse(shape: tuple[int, ...] = (64, 32, 3, 3), seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    weight = generator.normal(0, 0.1, shape).astype(np.float32)
    return np.where(generator.random(shape) < 0.2, weight, np.float32(0))


def mean_squared_error(weight: np.ndarray, how: Rounding) -> float:
    return float(np.square(weight.astype(np.float64) - round_values(weight, how)).mean())


@settings(max_examples=60, deadline=None)
@given(weight=WEIGHTS, how=st.sampled_from(ROUNDINGS))
def test_zeros_stay_and_rounding_again_changes_nothing(weight: np.ndarray, how: Rounding) -> None:
    rounded = round_values(weight, how)
    assert rounded.shape == weight.shape
    assert rounded.dtype == np.float32
    assert not rounded[weight == 0].any()
    np.testing.assert_array_equal(round_values(rounded, how), rounded)


@settings(max_examples=60, deadline=None)
@given(weight=WEIGHTS)
def test_integers_times_scales_are_the_weight_in_float32_exactly(weight: np.ndarray) -> None:
    rounded = round_values(weight, "int8")
    levels, scale = int8_levels(rounded)
    np.testing.assert_array_equal(levels.astype(np.float32) * scale, rounded)
    np.testing.assert_array_equal(levels.astype(np.float64) * scale.astype(np.float64), rounded)
    # half a step, and a scale at most 2^-15 above the largest magnitude over 127
    largest = np.abs(weight).max(axis=tuple(range(1, weight.ndim)), keepdims=True)
    assert (np.abs(rounded - weight) <= np.maximum(largest / 127 * 0.5001, 1e-29)).all()


def test_channels_have_scales_of_their_own_along_the_axis_asked_for() -> None:
    weight = np.array([[1, 0.5], [0.01, 0.005]], np.float32)
    np.testing.assert_allclose(int8_levels(weight)[1], [[1 / 127], [0.01 / 127]], rtol=1e-4)
    np.testing.assert_allclose(int8_levels(weight, axis=1)[1], [[1 / 127, 0.5 / 127]], rtol=1e-4)
    np.testing.assert_array_equal(int8_levels(weight, axis=-1)[0], [[127, 127], [1, 1]])


def test_an_empty_channel_stays_empty() -> None:
    weight = np.array([[0, 0], [1, -1]], np.float32)
    np.testing.assert_array_equal(round_values(weight, "int8")[0], [0, 0])


def test_half_is_numpys_half_and_stays_finite() -> None:
    weight = sparse()
    np.testing.assert_array_equal(round_values(weight, "float16"), weight.astype(np.float16).astype(np.float32))
    assert np.isfinite(round_values(np.array([1e9, -1e9], np.float32), "float16")).all()


@pytest.mark.parametrize("how", PALETTES)
def test_a_palette_has_no_more_values_than_its_bits_can_name(how: Rounding) -> None:
    rounded = round_values(sparse(), how)
    bits = int(how[-1])
    assert len(np.unique(rounded[rounded != 0])) <= 2**bits
    assert len(np.unique(rounded[rounded != 0])) > 2 ** (bits - 1)


def test_error_falls_with_bits() -> None:
    weight = sparse()
    errors = [mean_squared_error(weight, how) for how in PALETTES]
    assert all(more > fewer * 2 for more, fewer in itertools.pairwise(errors))
    assert errors[-1] < mean_squared_error(weight, "palette7") < mean_squared_error(weight, "palette4")


@pytest.mark.parametrize("how", PALETTES)
@pytest.mark.parametrize("heavy", [False, True])
def test_a_palette_is_no_worse_than_as_many_values_evenly_spaced(how: Rounding, heavy: bool) -> None:
    weight = sparse()
    weight = weight**3 if heavy else weight
    kept = weight[weight != 0].astype(np.float64)
    count = 2 ** int(how[-1])
    step = (kept.max() - kept.min()) / count
    even = kept.min() + step * (np.minimum((kept - kept.min()) // step, count - 1) + 0.5)
    ours = round_values(weight, how)[weight != 0]
    assert np.square(ours - kept).sum() <= np.square(even - kept).sum() * (1 + 1e-6)


@pytest.mark.parametrize(("bits", "distortion"), [(4, 0.009497), (5, 0.002499)])
def test_on_a_normal_law_the_error_is_that_of_the_best_quantiser(bits: int, distortion: float) -> None:
    """Max (1960), table I: mean squared error of the optimum quantiser of a unit normal with 16 and 32 levels."""
    weight = stats.norm.ppf((np.arange(200_000) + 0.5) / 200_000).astype(np.float32)
    how: Rounding = "palette4" if bits == 4 else "palette5"
    assert mean_squared_error(weight, how) == pytest.approx(distortion, rel=0.01)


def test_few_values_are_a_palette_as_they_are() -> None:
    weight = np.array([[0.1, 0, -0.3], [0.1, 0.7, 0]], np.float32)
    np.testing.assert_array_equal(palette(weight, 4), np.array([-0.3, 0.1, 0.7], np.float32))
    np.testing.assert_array_equal(round_values(weight, "palette4"), weight)


def test_a_weight_of_zeros_alone_stays() -> None:
    weight = np.zeros((3, 4), np.float32)
    for how in ROUNDINGS:
        np.testing.assert_array_equal(round_values(weight, how), weight)
