"""The importer gives the stored outputs of every node test of the ONNX project whose operators it claims."""

import re
import warnings
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper

from safedeploy.artifacts.base import Unopenable
from safedeploy.artifacts.onnx_import import OPERATORS, Graph
from safedeploy.artifacts.onnx_import.registry import full_name
from safedeploy.artifacts.onnx_import.tensors import from_array

PAST = "caches of past keys, of decoders alone, which ONNX's inliner cannot take apart here"

# what is not done, by the name of the case, with the reason
SKIPPED = {
    r"test_cast(like)?_.*(FLOAT8|FLOAT4|INT2|UINT2|STRING|E8M0|e8m0).*": "element types that no classifier computes in",
    r"test_(de)?quantizelinear_(e4m3fn|e5m2|float4|u?int2).*": "float8, float4 and two-bit integers",
    r"test_.*_bf16.*": "bfloat16 is computed in float32: the stored outputs are rounded after every step",
    r"test_.*string.*": "tensors of strings",
    r"test_attention_4d_(gqa_)?causal_(nonpad|with_past_and).*(?<!_expanded)": PAST,
    r"test_attention_4d_diff_heads_mask4d_padded_kv": PAST,
    r"test_attention_local_window_(with_past|ext_cache).*(?<!_expanded)": PAST,
    r"test_(batchnorm_.*training_mode|training_dropout_(default(_mask)?|mask)|training_dropout)": "training mode",
    r"test_maxpool_with_argmax.*": "the second output of MaxPool",
}


INLINED = {"Attention", "RotaryEmbedding"}  # unknown themselves; ONNX defines them by operators that are known


def skipped(name: str) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in SKIPPED)


def operators(case: Any) -> set[str]:
    return {full_name(node) for node in case.model.graph.node}


@pytest.fixture(scope="module")
def claimed() -> list[Any]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        from onnx.backend.test.loader import load_model_tests

        cases = load_model_tests(kind="node")
    return [case for case in cases if case.model is not None and operators(case) <= OPERATORS.keys() | INLINED]


def array(value: Any) -> np.ndarray[Any, Any]:
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)


def check(case: Any) -> None:
    graph = Graph(case.model)
    for inputs, outputs in case.data_sets:
        with torch.no_grad():
            answers = graph.run(*(from_array(array(value)) for value in inputs))
        for answer, stored in zip(answers, map(array, outputs), strict=True):
            assert tuple(answer.shape) == stored.shape
            found, wanted = answer.numpy().astype(stored.dtype).astype(np.float64), stored.astype(np.float64)
            np.testing.assert_allclose(found, wanted, rtol=case.rtol, atol=case.atol)


@pytest.mark.filterwarnings("ignore")
def test_outputs_are_the_stored_ones(claimed: list[Any]) -> None:
    failures = {}
    for case in claimed:
        if not skipped(case.name):
            try:
                check(case)
            except Exception as error:
                failures[case.name] = f"{type(error).__name__}: {error}"
    assert failures == {}


def test_the_cases_are_many_and_cover_every_operator(claimed: list[Any]) -> None:
    run = [case for case in claimed if not skipped(case.name)]
    assert len(run) > 1200
    assert OPERATORS.keys() | INLINED == set().union(*(operators(case) for case in run))


@pytest.mark.filterwarnings("ignore")
def test_no_case_is_skipped_that_would_pass(claimed: list[Any]) -> None:
    left_out = [case for case in claimed if skipped(case.name)]
    assert all(any(re.fullmatch(pattern, case.name) for case in left_out) for pattern in SKIPPED)
    for case in left_out:
        with pytest.raises((Unopenable, TypeError, ValueError, AssertionError)):
            check(case)


@pytest.mark.parametrize("name", ["LSTM", "NonMaxSuppression", "DeformConv"])
def test_an_unknown_operator_is_named(name: str) -> None:
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(name, ["x", "w"], ["y"])],
        "g",
        [onnx.helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [onnx.helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)])
    with pytest.raises(Unopenable, match=f"does not know the operator {name}"):
        Graph(model)
