"""A damaged .pte file gets one line from the reader, whatever bytes were lost or changed."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from safedeploy.artifacts.base import Unopenable
from safedeploy.artifacts.pte import contents
from safedeploy.artifacts.pte.flatbuffer import Unreadable, root
from safedeploy.artifacts.pte.program import array
from safedeploy.artifacts.pte.rebuild import rebuild

quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def whole(convnet_pte: Path) -> bytes:
    return convnet_pte.read_bytes()


def assert_one_line_or_fine(data: bytes) -> None:
    for read in (rebuild, contents.operators, lambda data: list(contents.tensors(data))):
        reason = None
        try:
            read(data)
        except Unopenable as raised:
            reason = str(raised)
        assert reason is None or (reason and reason.isprintable())


@quick
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_off_anywhere(whole: bytes, share: float) -> None:
    cut = whole[: int(share * len(whole))]
    assert_one_line_or_fine(cut)
    with pytest.raises(Unopenable):
        rebuild(cut)


@quick
@given(flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8))
def test_bytes_changed_in_the_program(whole: bytes, flips: list[tuple[float, int]]) -> None:
    """The program comes first; the weights' bytes behind it mean nothing to a reader."""
    data, end = bytearray(whole), whole.index(b"XH00") - 4
    for share, byte in flips:
        data[int(share * end)] = byte
    assert_one_line_or_fine(bytes(data))


@quick
@given(flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8))
def test_bytes_changed_in_the_delegates_graph(whole: bytes, flips: list[tuple[float, int]]) -> None:
    data, start = bytearray(whole), whole.index(b"XH00") - 4
    size = int.from_bytes(whole[start + 14 : start + 18], "little") + 32
    for share, byte in flips:
        data[start + int(share * size)] = byte
    assert_one_line_or_fine(bytes(data))


@quick
@given(data=st.binary(max_size=200))
def test_any_bytes_at_all(data: bytes) -> None:
    assert_one_line_or_fine(data)
    assert_one_line_or_fine(data[:4] + b"ET12" + data[4:])


def test_a_list_longer_than_its_file_is_refused() -> None:
    """A table by hand: root at 8, its layout at 16 with one field, a list that claims 2^20 integers."""
    layout = np.array([6, 8, 4], dtype="<u2").tobytes() + b"\0\0"
    table = np.array([16, 0, -8, 12], dtype="<i4").tobytes()[8:]
    data = np.array([8], dtype="<u4").tobytes() + b"TEST" + table + layout + np.array([2**20], dtype="<u4").tobytes()
    with pytest.raises(Unreadable, match="a list reaches past its end"):
        root(data, (b"TEST",), "the table").numbers(0, "<u4")


def test_a_constant_of_more_axes_than_any_array_is_refused() -> None:
    with pytest.raises(Unreadable, match="a constant of 65 axes"):
        array(b"\0" * 4, "<f4", (1,) * 65)
