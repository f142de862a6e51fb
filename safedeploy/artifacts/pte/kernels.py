"""Calls of ExecuTorch's own kernels as steps of a module: the nodes that no delegate took.

A kernel aten::name.overload does what torch's operator of that name does (kernels/portable/README.md); its arguments
are those of the operator's out variant, the places of the answers last.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from safedeploy.artifacts.pte import shapes
from safedeploy.artifacts.pte.flatbuffer import Unreadable
from safedeploy.artifacts.pte.module import Builder, chain, conv2d, linear
from safedeploy.artifacts.pte.program import Program, TensorList, TensorValue
from safedeploy.artifacts.pte.rounding import from_levels, grid, to_levels

# Pure functions of their arguments; the first answer of those with several is the one that classifiers use.
_PURE = """
abs add alias_copy amax amin avg_pool2d bmm cat ceil clamp clone constant_pad_nd cos cumsum div elu embedding eq erf
exp floor full_like gelu hardtanh leaky_relu _log_softmax log log1p logical_not masked_fill max_pool2d_with_indices
maximum mean minimum mm mul _native_batch_norm_legit_no_training native_group_norm native_layer_norm neg pixel_shuffle
pow reciprocal relu rsqrt scalar_tensor select_copy sigmoid sin slice_copy _softmax sqrt squeeze_copy sub sum tanh
unsqueeze_copy upsample_bilinear2d upsample_nearest2d where addmm convolution _adaptive_avg_pool2d
"""
PURE = frozenset(_PURE.split())


def call(program: Program, builder: Builder, kernel: str, arguments: Sequence[int]) -> None:
    """Add one kernel call. Raises Unreadable with its name where it is not covered."""
    family, _, name = kernel.rpartition("::")
    name, _, overload = name.partition(".")
    if (family, name) in OWN:
        OWN[family, name](program, builder, tuple(arguments))
        return
    if family != "aten" or name not in PURE:
        raise Unreadable(f"the kernel {kernel} is not read here")
    schema = getattr(getattr(torch.ops.aten, name), overload)._schema.arguments
    taken = [argument for argument in schema if not argument.is_out]
    if len(arguments) < len(schema) or len(taken) == len(schema):
        raise Unreadable(f"the file is damaged: {kernel} gets {len(arguments)} arguments")
    given = dict(zip((argument.name for argument in taken), arguments, strict=False))
    output = arguments[len(taken)]
    if name in LAYERS and LAYERS[name](program, builder, given, output):
        return
    named = {argument.name: argument.kwarg_only for argument in taken}
    _apply(program, builder, getattr(torch.ops.aten, name), given, named, output)


def _apply(
    program: Program,
    builder: Builder,
    function: Callable[..., Any],
    given: dict[str, int],
    named: dict[str, bool],
    output: int,
) -> None:
    """output = function(given): tensors become inputs of the step, everything else is fixed in it."""
    inputs: list[int] = []

    def place(number: int) -> Any:
        value = program.values[number] if 0 <= number < len(program.values) else None
        if isinstance(value, TensorValue):
            inputs.append(number)
            return _Input(len(inputs) - 1)
        return [place(one) for one in value.values] if isinstance(value, TensorList) else value

    positional = [place(number) for name, number in given.items() if not named[name]]
    keywords = {name: place(number) for name, number in given.items() if named[name]}
    builder.add(partial(_with_tensors, function, positional, keywords), inputs, output)


class _Input(int):
    """Stands for the tensor of that number among a step's inputs."""


def _with_tensors(
    function: Callable[..., Any], positional: Sequence[Any], keywords: dict[str, Any], *tensors: Tensor
) -> Tensor:
    def fill(value: Any) -> Any:
        if isinstance(value, _Input):
            return tensors[value]
        return [fill(one) for one in value] if isinstance(value, list) else value

    answer = function(*map(fill, positional), **{name: fill(value) for name, value in keywords.items()})
    return answer if isinstance(answer, Tensor) else answer[0]


def _product_layer(program: Program, builder: Builder, given: dict[str, int], output: int) -> bool:
    """addmm and mm with a constant weight (inputs, outputs) are linear layers."""
    bias = given.get("self") if "mat1" in given else None
    source, weight = (given["mat1"], given["mat2"]) if "mat1" in given else (given["self"], given["mat2"])
    plain = all(program.values[given[name]] in (None, 1) for name in ("beta", "alpha") if name in given)
    if builder.live(weight) or not builder.live(source) or not plain or (bias is not None and builder.live(bias)):
        return False
    values = None if bias is None else builder.constants[bias]
    if values is not None and values.ndim != 1:
        return False
    builder.layer("linear", linear(builder.constants[weight].T, values), source, output)
    return True


def _embedding_layer(program: Program, builder: Builder, given: dict[str, int], output: int) -> bool:
    """A constant table looked up by what depends on the input: token numbers, which come as floats."""
    table, numbers = given["weight"], given["indices"]
    if builder.live(table) or not builder.live(numbers):
        return False
    whole = builder.fresh()
    builder.add(torch.Tensor.long, [numbers], whole)
    rows, width = builder.constants[table].shape
    builder.layer("embedding", nn.Embedding(rows, width, _weight=builder.constants[table]), whole, output)
    return True


def _convolution_layer(program: Program, builder: Builder, given: dict[str, int], output: int) -> bool:
    """A two-dimensional convolution with a constant weight."""
    how = {name: program.values[given[name]] for name in ("stride", "padding", "dilation", "transposed", "groups")}
    weight, bias = given["weight"], program.values[given["bias"]]
    if builder.live(weight) or builder.constants[weight].ndim != 4 or how.pop("transposed"):
        return False
    how = {name: value if name == "groups" else _pair(value) for name, value in how.items()}
    values = None if bias is None else builder.constants[given["bias"]]
    builder.layer("conv", conv2d(builder.constants[weight], values, **how), given["input"], output)
    return True


def _pair(sizes: Sequence[int]) -> tuple[int, int]:
    return (sizes[0], sizes[-1])


def _reshape(program: Program, builder: Builder, arguments: tuple[int, ...]) -> None:
    source, wanted = program.values[arguments[0]], program.values[arguments[1]]
    if not isinstance(source, TensorValue) or not isinstance(wanted, tuple):
        raise Unreadable("the file is damaged: it reshapes what is no tensor")
    batch = builder.batch if builder.live(arguments[0]) else None
    builder.add(shapes.reshape(source.shape, wanted, batch), [arguments[0]], arguments[2])


def _expand(program: Program, builder: Builder, arguments: tuple[int, ...]) -> None:
    source, wanted = program.values[arguments[0]], program.values[arguments[1]]
    if not isinstance(source, TensorValue) or not isinstance(wanted, tuple):
        raise Unreadable("the file is damaged: it expands what is no tensor")
    batch = builder.batch if builder.live(arguments[0]) else None
    builder.add(shapes.expand(source.shape, wanted, batch), [arguments[0]], arguments[-1])


def _permute(program: Program, builder: Builder, arguments: tuple[int, ...]) -> None:
    source, order = program.values[arguments[0]], program.values[arguments[1]]
    if not isinstance(source, TensorValue) or not isinstance(order, tuple):
        raise Unreadable("the file is damaged: it permutes what is no tensor")
    order = tuple(axis % max(len(order), 1) for axis in order)
    shapes.check_order(order, source.shape, keeps_first=builder.live(arguments[0]))
    builder.add(partial(torch.permute, dims=order), [arguments[0]], arguments[2])


def _copy(_: Program, builder: Builder, arguments: tuple[int, ...]) -> None:
    """Another order in memory is no other tensor."""
    builder.add(torch.clone, [arguments[0]], arguments[-1])


def _quantize(program: Program, builder: Builder, arguments: tuple[int, ...]) -> None:
    scale, zero_point, lowest, highest = (program.values[number] for number in arguments[1:5])
    builder.rounded = True
    levels = partial(to_levels, scale=scale, zero_point=zero_point)
    builder.add(chain(grid(scale, zero_point, lowest, highest), levels), [arguments[0]], arguments[-1])


def _dequantize(program: Program, builder: Builder, arguments: tuple[int, ...]) -> None:
    scale, zero_point = (program.values[number] for number in arguments[1:3])
    builder.add(partial(from_levels, scale=scale, zero_point=zero_point), [arguments[0]], arguments[-1])


Own = Callable[[Program, Builder, tuple[int, ...]], None]
OWN: dict[tuple[str, str], Own] = {
    ("aten", "view_copy"): _reshape,
    ("executorch_prim", "et_view"): _reshape,
    ("aten", "expand_copy"): _expand,
    ("aten", "permute_copy"): _permute,
    ("dim_order_ops", "_to_dim_order_copy"): _copy,
    ("dim_order_ops", "_clone_dim_order"): _copy,
    ("quantized_decomposed", "quantize_per_tensor"): _quantize,
    ("quantized_decomposed", "dequantize_per_tensor"): _dequantize,
}
AsLayer = Callable[[Program, Builder, dict[str, int], int], bool]
LAYERS: dict[str, AsLayer] = {
    "addmm": _product_layer,
    "mm": _product_layer,
    "convolution": _convolution_layer,
    "embedding": _embedding_layer,
}
