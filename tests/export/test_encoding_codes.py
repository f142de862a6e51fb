"""Codes of places and numbers: against hand-worked cases, the entropy they approach, and what comes back."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safedeploy.artifacts.inspect import bound_bytes
from safedeploy.export.encoding import golomb
from safedeploy.export.encoding.bits import fields_of, pack, unpack
from safedeploy.export.encoding.numbers import forms, smallest
from safedeploy.export.encoding.positions import codec, codecs, with_fillers


@given(st.integers(1, 15).flatmap(lambda w: st.tuples(st.just(w), st.lists(st.integers(0, 2**w - 1), max_size=40))))
def test_packed_numbers_come_back(case: tuple[int, list[int]]) -> None:
    width, numbers = case
    groups = -(-len(numbers) // 8)
    packed = pack(np.array(numbers, np.int64), width, groups)
    assert sum(part.nbytes for part in packed.values()) == groups * width
    assert unpack(packed, width)[: len(numbers)].tolist() == numbers


def test_a_width_is_the_sum_of_its_fields() -> None:
    assert [fields_of(width) for width in (0, 1, 3, 7, 8, 12)] == [(), (1,), (2, 1), (4, 2, 1), (8,), (8, 4)]


def test_a_golomb_rice_code_by_hand() -> None:
    """Distances 1, 4, 2 with k = 1: quotients 0, 1, 0 are 1 01 1; remainders 0, 1, 1."""
    coded = golomb.code(np.array([1, 4, 2]), 1)
    assert np.unpackbits(coded.unary, bitorder="little").tolist() == [1, 0, 1, 1, 0, 0, 0, 0]
    assert coded.remainders.tolist() == [0, 1, 1]
    assert golomb.bits(np.array([1, 4, 2]), 1) == 4 + 3


@given(st.lists(st.integers(1, 500), min_size=1, max_size=60), st.integers(0, 7))
def test_distances_come_back(distances: list[int], k: int) -> None:
    given_ = np.array(distances, np.int64)
    assert golomb.distances(golomb.code(given_, k)).tolist() == distances


@pytest.mark.parametrize("density", [0.02, 0.05, 0.1, 0.2, 0.4])
def test_the_best_k_is_close_to_the_entropy_of_a_random_mask(density: float) -> None:
    """A geometric distance has the entropy of the mask over the density, in bits a non-zero."""
    mask = np.random.default_rng(0).random(200_000) < density
    distances = np.diff(np.flatnonzero(mask), prepend=-1)
    entropy = -(density * math.log2(density) + (1 - density) * math.log2(1 - density)) / density
    assert entropy < golomb.bits(distances, golomb.best_k(distances)) / len(distances) < 1.05 * entropy + 0.01


@given(st.sets(st.integers(0, 4000), min_size=1, max_size=40), st.integers(1, 300))
def test_fillers_leave_no_distance_too_long(places: set[int], longest: int) -> None:
    positions = np.array(sorted(places), np.int64)
    filled = with_fillers(positions, longest)
    assert set(places) <= set(filled.tolist())
    assert np.diff(filled, prepend=0).max() <= longest
    assert len(filled) == sum(max(1, -(-int(d) // longest)) for d in np.diff(positions, prepend=0))


@given(st.sets(st.integers(0, 6000), min_size=1, max_size=50))
def test_a_codec_takes_the_bytes_it_says(places: set[int]) -> None:
    positions = np.array(sorted(places), np.int64)
    for one in codecs(positions):
        stored = one.arrays()
        assert one.size_bytes == sum(part.nbytes for part in stored) + 28 * len(stored)
        assert codec(one.function, positions).size_bytes == one.size_bytes


def test_numbers_are_halves_where_they_are_halves_and_a_palette_where_there_are_few() -> None:
    normal = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    assert smallest(normal).kind == "raw"
    assert smallest(normal.astype(np.float16).astype(np.float32)).kind == "float16"
    few = normal[:13][np.random.default_rng(1).integers(0, 13, 1000)]
    assert (smallest(few).kind, smallest(few).bits) == ("palette", 4)


def test_numbers_that_are_not_finite_are_stored_as_they_are() -> None:
    assert [form.kind for form in forms(np.array([np.nan, np.inf, 1.0], np.float32))] == ["raw"]


@pytest.mark.parametrize(
    ("size", "nonzero", "bits", "wanted"), [(8, 0, 32, 0), (8, 8, 8, 8), (4, 2, 0, 1), (256, 1, 8, 2)]
)
def test_the_entropy_bound_by_hand(size: int, nonzero: int, bits: int, wanted: int) -> None:
    """One place of 256 takes a byte, its number another; two of four places have six ways, under 3 bits."""
    assert bound_bytes(size, nonzero, bits) == wanted
