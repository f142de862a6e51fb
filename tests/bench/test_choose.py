"""--device and --cores: what a name means, and one line for a name that means nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safedeploy.bench.devices.choose import choose
from safedeploy.bench.devices.cores import core_numbers
from safedeploy.bench.devices.local import Local
from safedeploy.errors import UserError


def test_local_is_this_machine() -> None:
    assert choose("local") == choose() == Local()
    assert choose("local", cores="1,0") == Local(cores=(0, 1))


def test_an_unknown_device_is_one_line_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'local'") as caught:
        choose("locl")
    assert "\n" not in str(caught.value)


@given(st.sets(st.integers(0, 9999), min_size=1, max_size=20))
def test_a_list_of_cores_is_those_cores(cores: set[int]) -> None:
    assert core_numbers(",".join(map(str, cores))) == tuple(sorted(cores))


def test_ranges_and_lists_mix() -> None:
    assert core_numbers("0, 4-6,5") == (0, 4, 5, 6)


@pytest.mark.parametrize("text", ["", "a", "3-1", "1,", "-1", "0x1", "1;2", "99999"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="give the numbers of cores"):
        core_numbers(text)
