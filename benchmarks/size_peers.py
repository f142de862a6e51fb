"""What else a sparse ONNX model could ship as, each form really written, and read or run again."""

import gzip
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from safedeploy.artifacts.info import zip_bytes
from safedeploy.artifacts.inspect import position_bits

INDEX_BYTES = 8  # ONNX Runtime takes one int64 linear index a non-zero


def bound_bytes(path: Path, rounding: str | None = None) -> float:
    """The least an ONNX file's tensors take when zeros' places and values are coded apart, graph structure left out.

    A tensor with zeros: log2 C(n, k) bits for which k of its n values are not zero, and k values of as many bits as the
    file stores a value with. A tensor without zeros (biases, batch norms, scales): its bytes as they are. The first
    formula gives the second where k = n, so a quantiser's zero points, all zero, are counted as nothing.
    rounding: what the weights (two axes or more) of a float32 file were rounded to; a value then has 16 bits, 8 and a
    float32 scale an output channel, or 4 to 8 and a float32 for each value of the tensor's palette.
    """
    return sum(_bits(value, rounding if value.ndim > 1 else None) for _, value in tensors(onnx.load(path))) / 8


def _bits(value: NDArray[Any], rounding: str | None) -> float:
    n, k = value.size, int(np.count_nonzero(value))
    log2_choices = position_bits(n, k)
    if rounding is None:
        return log2_choices + k * value.itemsize * 8
    if rounding == "float16":
        return log2_choices + k * 16
    if rounding == "int8":
        return log2_choices + k * 8 + len(value) * 32
    return log2_choices + k * int(rounding.removeprefix("palette")) + len(np.unique(value[value != 0])) * 32


def tensors(model: onnx.ModelProto) -> Iterator[tuple[onnx.TensorProto, NDArray[Any]]]:
    for initializer in model.graph.initializer:
        yield initializer, numpy_helper.to_array(initializer)


def zipped(path: Path) -> int:
    """Bytes of a zip of the file at level 9."""
    return zip_bytes([path])


def gzipped(path: Path) -> int:
    """Bytes of the file by gzip at level 9."""
    return len(gzip.compress(path.read_bytes(), compresslevel=9, mtime=0))


def write_sparse_tensor_protos(source: Path, path: Path) -> None:
    """ONNX's own sparse form, for every tensor that it makes smaller: values and int64 linear indices."""
    model = onnx.load(source)
    for tensor, value in list(tensors(model)):
        flat = value.ravel()
        kept = np.flatnonzero(flat)
        if kept.size * (INDEX_BYTES + value.itemsize) < value.nbytes:
            sparse = onnx.SparseTensorProto(
                values=numpy_helper.from_array(flat[kept], tensor.name),
                indices=numpy_helper.from_array(kept.astype(np.int64)),
                dims=value.shape,
            )
            model.graph.sparse_initializer.append(sparse)
            model.graph.initializer.remove(tensor)
    path.write_bytes(model.SerializeToString(deterministic=True))


def write_bitmasks(source: Path, path: Path) -> None:
    """One bit a value and the values that are not zero, for every tensor that this makes smaller; no runtime reads it.

    The file: a length, the graph without those tensors' values, then their masks and values one after another.
    """
    model = onnx.load(source)
    parts = []
    for tensor, value in tensors(model):
        kept = value.ravel() != 0
        content = np.packbits(kept).tobytes() + value.ravel()[kept].tobytes()
        if len(content) < value.nbytes:
            elsewhere = onnx.TensorProto.EXTERNAL
            header = onnx.TensorProto(
                name=tensor.name, data_type=tensor.data_type, dims=tensor.dims, data_location=elsewhere
            )
            tensor.CopyFrom(header)
            parts.append(content)
    graph = model.SerializeToString(deterministic=True)
    path.write_bytes(len(graph).to_bytes(8, "little") + graph + b"".join(parts))


def read_bitmasks(path: Path) -> onnx.ModelProto:
    """The model that `write_bitmasks` was given."""
    content = io.BytesIO(path.read_bytes())
    model = onnx.ModelProto.FromString(content.read(int.from_bytes(content.read(8), "little")))
    for tensor in model.graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        tensor.ClearField("data_location")
        size = math.prod(tensor.dims)
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        kept = np.unpackbits(np.frombuffer(content.read(-(-size // 8)), dtype=np.uint8), count=size).astype(bool)
        value = np.zeros(size, dtype=dtype)
        value[kept] = np.frombuffer(content.read(int(kept.sum()) * dtype.itemsize), dtype=dtype)
        tensor.raw_data = value.tobytes()
    return model


def same_tensors(model: onnx.ModelProto, source: Path) -> bool:
    wanted = {tensor.name: value for tensor, value in tensors(onnx.load(source))}
    found = {tensor.name: value for tensor, value in tensors(model)}
    return wanted.keys() == found.keys() and all(np.array_equal(wanted[name], found[name]) for name in wanted)
