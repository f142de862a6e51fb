"""Tensors and element types of ONNX as torch's."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor

from safedeploy.artifacts.base import Unopenable

# Half precision is computed in float32, and unsigned integers that torch cannot add in the next wider signed type.
DTYPES: dict[int, torch.dtype] = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.FLOAT16: torch.float32,
    TensorProto.BFLOAT16: torch.float32,
    TensorProto.DOUBLE: torch.float64,
    TensorProto.BOOL: torch.bool,
    TensorProto.INT4: torch.int8,
    TensorProto.INT8: torch.int8,
    TensorProto.INT16: torch.int16,
    TensorProto.INT32: torch.int32,
    TensorProto.INT64: torch.int64,
    TensorProto.UINT4: torch.uint8,
    TensorProto.UINT8: torch.uint8,
    TensorProto.UINT16: torch.int32,
    TensorProto.UINT32: torch.int64,
    TensorProto.UINT64: torch.int64,
}

# (lowest, highest) of the types that tensors are quantised to
RANGES: dict[int, tuple[int, int]] = {
    TensorProto.INT4: (-8, 7),
    TensorProto.INT8: (-128, 127),
    TensorProto.INT16: (-(2**15), 2**15 - 1),
    TensorProto.INT32: (-(2**31), 2**31 - 1),
    TensorProto.UINT4: (0, 15),
    TensorProto.UINT8: (0, 255),
    TensorProto.UINT16: (0, 2**16 - 1),
}


def dtype(element: int) -> torch.dtype:
    """The torch type of an ONNX element type. Raises Unopenable where there is none."""
    if element not in DTYPES:
        raise Unopenable(f"the importer does not know the element type {_type_name(element)}")
    return DTYPES[element]


def value_range(element: int) -> tuple[int, int]:
    if element not in RANGES:
        raise Unopenable(f"the importer does not quantise to {_type_name(element)}")
    return RANGES[element]


def _type_name(element: object) -> str:
    return TensorProto.DataType.Name(element) if isinstance(element, int) else str(element)


def from_proto(proto: TensorProto) -> Tensor:
    kind = dtype(proto.data_type)
    return from_array(numpy_helper.to_array(proto), kind)


def from_array(array: Any, kind: torch.dtype | None = None) -> Tensor:
    """`array` in torch's type `kind`, or in that of its own type; a copy."""
    if kind is None:
        kind = dtype(onnx.helper.np_dtype_to_tensor_dtype(array.dtype))
    wanted = torch.empty(0, dtype=kind).numpy().dtype
    return torch.from_numpy(np.array(array, dtype=wanted, order="C", copy=True))


def ints(values: Tensor) -> list[int]:
    """A tensor of sizes, axes or indices as a list."""
    return [int(value) for value in values.reshape(-1).tolist()]


def broadcast(one: Sequence[int], other: Sequence[int]) -> list[int]:
    """The shape that two shapes broadcast to."""
    return list(np.broadcast_shapes(tuple(one), tuple(other)))
