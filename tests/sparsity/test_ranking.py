"""Largest and smallest without sorting: what a stable sort would choose."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from safedeploy.sparsity.ranking import largest, smallest

NAN, INF = torch.nan, torch.inf


def places(mask):
    return mask.nonzero().flatten().tolist()


@settings(max_examples=300, deadline=None)
@given(st.data(), st.integers(1, 40), st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
def test_it_is_what_a_stable_sort_chooses(data, size, dtype):
    values = st.sampled_from([-INF, -2.5, -1.0, -0.0, 0.0, 1.0, 1.5, 7.0, INF]) | st.floats(-3, 3, width=16)
    value = torch.tensor(data.draw(st.lists(values, min_size=size, max_size=size)), dtype=dtype)
    among = torch.tensor(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    count = data.draw(st.integers(0, int(among.sum())))
    allowed = among.nonzero().flatten()
    for choose, descending in ((largest, True), (smallest, False)):
        order = value[allowed].argsort(descending=descending, stable=True)[:count]
        assert places(choose(value, among, count)) == sorted(allowed[order].tolist())


def test_of_equal_values_the_first_go_in_rows_too():
    value = torch.tensor([[1.0, 3.0, 1.0], [1.0, 0.0, 1.0]])
    among = torch.tensor([[True, True, False], [True, True, True]])
    assert largest(value, among, 3).tolist() == [[True, True, False], [True, False, False]]
    assert smallest(value, among, 3).tolist() == [[True, False, False], [True, True, False]]


@pytest.mark.parametrize("choose", [largest, smallest])
def test_the_count_is_exact_where_values_are_not_numbers(choose):
    """As after a step of float16 training whose scale was too large."""
    value = torch.tensor([NAN, 1.0, NAN, INF, -INF, NAN, 2.0])
    among = torch.tensor([True, True, True, True, True, False, True])
    for count in range(7):
        chosen = choose(value, among, count)
        assert int(chosen.sum()) == count
        assert not (chosen & ~among).any()


def test_no_more_is_chosen_than_there_is_and_the_values_stay_as_they_are():
    value, among = torch.tensor([3.0, NAN, 1.0]), torch.tensor([True, False, True])
    assert places(largest(value, among, 9)) == [0, 2]
    assert places(largest(value, ~among, 0)) == []
    assert value.isnan().tolist() == [False, True, False]
    assert among.tolist() == [True, False, True]
