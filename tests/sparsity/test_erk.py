"""Erdős-Rényi-Kernel budgets against a hand-worked case and RigL's own algorithm, written again."""

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from safedeploy.errors import UserError
from safedeploy.sparsity.budget import erk

LENET5 = {"conv1": (6, 1, 5, 5), "conv2": (16, 6, 5, 5), "fc1": (120, 400), "fc2": (84, 120), "fc3": (10, 84)}

shapes = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=3),
    st.one_of(
        st.tuples(st.integers(1, 40), st.integers(1, 40)),
        st.tuples(st.integers(1, 16), st.integers(1, 16), st.integers(1, 5), st.integers(1, 5)),
    ),
    min_size=1,
    max_size=6,
)


def rigl(layers, density):
    """Kept weights, not rounded, as google-research/rigl finds them: the fullest layer dense, then anew."""
    dense = set()
    while True:
        divisor = rhs = 0.0
        raw = {}
        for name, shape in layers.items():
            size = math.prod(shape)
            if name in dense:
                rhs -= size * (1 - density)
            else:
                rhs += size * density
                raw[name] = sum(shape) / size
                divisor += raw[name] * size
        if not raw:
            break
        epsilon = rhs / divisor
        if max(raw.values()) * epsilon <= 1:
            break
        dense |= {name for name, value in raw.items() if value == max(raw.values())}
    sizes = {name: math.prod(shape) for name, shape in layers.items()}
    return {name: size if name in dense else epsilon * raw[name] * size for name, size in sizes.items()}


def test_two_layers_by_hand():
    # raw: (10 + 10) / 100 = 0.2 and (20 + 30) / 600 = 1/12; 140 kept of 700: scale · (20 + 50) = 140, so scale = 2
    assert erk({"a": (10, 10), "b": (20, 30)}, 0.2) == {"a": 40, "b": 100}


def test_a_layer_that_would_pass_1_is_dense_and_the_rest_share_what_is_left():
    # raw: (2 + 2) / 4 = 1 and 200 / 10,000 = 0.02; 1,000 kept: scale · (4 + 200) = 1,000, so 'a' would be at 4.9
    assert erk({"a": (2, 2), "b": (100, 100)}, 0.1) == {"a": 4, "b": 996}


@pytest.mark.parametrize(("density", "total", "first"), [(0.05, 3_074, 60), (0.2, 12_294, 150)])
def test_lenet5_keeps_what_rigl_keeps(density, total, first):
    """At 20 % the first layer, of 150 weights, is dense."""
    exact, kept = rigl(LENET5, density), erk(LENET5, density)
    assert kept["conv1"] == first
    assert all(abs(kept[name] - exact[name]) < 1 for name in LENET5)
    assert sum(kept.values()) == total


@settings(max_examples=200, deadline=None)
@given(shapes, st.floats(0.001, 1))
def test_totals_are_exact_and_no_layer_is_empty_or_overfull(layers, density):
    sizes = {name: math.prod(shape) for name, shape in layers.items()}
    total = round(density * sum(sizes.values()))
    if total < len(layers):
        with pytest.raises(UserError):
            erk(layers, density)
        return
    kept = erk(layers, density)
    assert sum(kept.values()) == total
    assert all(1 <= kept[name] <= sizes[name] for name in layers)


@settings(max_examples=200, deadline=None)
@given(shapes, st.floats(0.001, 1))
def test_budgets_are_rigls_to_a_weight(layers, density):
    exact = rigl(layers, density)
    assume(min(exact.values()) >= 1)
    kept = erk(layers, density)
    # half a weight more than rounding: the total is rounded first, which moves the scale
    assert all(abs(kept[name] - exact[name]) <= 1.5 for name in layers)


def test_a_density_of_one_keeps_everything():
    assert erk(LENET5, 1.0) == {name: math.prod(shape) for name, shape in LENET5.items()}


def test_a_density_below_one_weight_a_layer_says_which_would_do():
    with pytest.raises(UserError, match="use at least") as caught:
        erk(LENET5, 1e-5)
    enough = float(str(caught.value).rsplit(" ", 1)[1])
    assert min(erk(LENET5, enough).values()) >= 1
