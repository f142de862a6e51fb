"""A claim holds where what was measured meets it: noise does not refute, a real difference does."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safedeploy.bench.protocol import Measurement
from safedeploy.plan.claims import Pair, block_ratios, claims, median_interval
from safedeploy.plan.make import make_plan
from safedeploy.plan.question import ask
from tests.conftest import save_linear


def run(median_ns: float, *, load=10.0, peak=20_000_000, noise=0.0, seed=0) -> Measurement:
    generator = np.random.default_rng(seed)
    blocks = [(median_ns * (1 + noise * generator.standard_normal(20))).astype(np.int64) for _ in range(10)]
    return Measurement({"cold_load_ms": load, "baseline_memory_bytes": 10_000_000, "machine": {}}, blocks, peak)


@cache
def planned(structure: str):
    return make_plan(ask("mlp", "android", input_shape="20", density=0.5, structure=structure))


def checked(tmp_path: Path, dense, sparse, *, structure="irregular", flags=frozenset(), work=1):
    plan = planned(structure)
    plan = plan.model_copy(update={"macs": work * plan.macs})
    path = save_linear(tmp_path / "model.onnx")
    pairs = [Pair(file, path, path, dense, sparse) for file in plan.files]
    return {(check.file, check.claim): check for check in claims(plan, pairs, set(flags))}


@pytest.mark.parametrize(("factor", "agrees"), [(1.0, True), (1.03, True), (0.7, False), (1.4, False)])
def test_no_faster_is_refuted_by_a_real_difference_alone(tmp_path, factor, agrees):
    dense, sparse = (
        [run(1e6, noise=0.1, seed=one) for one in range(3)],
        [run(factor * 1e6, noise=0.1, seed=one + 9) for one in range(3)],
    )
    assert checked(tmp_path, dense, sparse)["model.pte", "time, same as dense"].agrees == agrees


@pytest.mark.parametrize(("factor", "agrees"), [(0.9, True), (1.2, False), (0.05, True)])
def test_channels_make_it_faster_and_by_how_much_is_not_claimed(tmp_path, factor, agrees):
    found = checked(tmp_path, [run(1e6)] * 3, [run(factor * 1e6)] * 3, structure="channel")
    assert found["model.onnx", "time, of dense"].agrees == agrees


def test_less_memory_than_dense_refutes_that_weights_are_decoded_at_load(tmp_path):
    found = checked(tmp_path, [run(1e6)] * 3, [run(1e6, peak=12_000_000)] * 3)
    assert not found["model.onnx", "peak memory, no less"].agrees


def test_a_file_of_another_size_refutes_its_estimate(tmp_path):
    found = checked(tmp_path, [run(1e6)] * 3, [run(1e6)] * 3)
    assert not found["model.onnx", "disk, dense"].agrees
    assert found["model.onnx", "disk, dense"].measured == (tmp_path / "model.onnx").stat().st_size


def test_int8_is_claimed_faster_only_for_large_layers_on_a_cpu_with_a_dot_product(tmp_path):
    pair, vnni = [run(1e6)] * 3, {"avx512_vnni"}
    without = checked(tmp_path, pair, pair, work=1000)
    assert set(checked(tmp_path, pair, pair, flags=vnni)) == set(without)
    assert set(checked(tmp_path, pair, pair, flags=vnni, work=1000)) - set(without) == {
        ("model.int8.onnx", "time, of dense model.onnx"),
        ("model.int8.pte", "time, of dense model.pte"),
    }


def test_the_interval_of_the_median_covers_it_as_often_as_it_says():
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        _, low, high = median_interval(generator.lognormal(size=30))
        covered += low <= 1 <= high
    assert covered >= 940


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=40))
def test_the_interval_holds_its_median(values):
    median, low, high = median_interval(values)
    assert min(values) <= low <= median <= high <= max(values)


def test_ratios_are_of_blocks_that_ran_side_by_side():
    assert block_ratios([run(2e6)], [run(1e6)]) == [pytest.approx(0.5)] * 10
