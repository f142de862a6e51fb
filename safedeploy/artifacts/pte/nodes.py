"""XNNPACK's nodes as steps of a module, as ExecuTorch's XNNCompiler.cpp hands them to XNNPACK.

Tensors of images are NHWC in these graphs and stay so between steps; only a layer sees NCHW, which copies nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from safedeploy.artifacts.pte import shapes
from safedeploy.artifacts.pte.flatbuffer import Unreadable
from safedeploy.artifacts.pte.module import Builder, chain, conv2d, linear
from safedeploy.artifacts.pte.rounding import from_stored, real, rounding, same_grid, sum_on_grid, to_stored, unit_of
from safedeploy.artifacts.pte.shapes import Run
from safedeploy.artifacts.pte.xnnpack import NONE, Graph, Node, Value

TRANSPOSED, TENSORFLOW_SAME, ALIGN_CORNERS, KEEP_DIMS = 0x1, 0x4, 0x8, 0x40  # xnnpack.h
TO_NCHW, TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)


@dataclass(frozen=True, eq=False)
class Lowering:
    """A graph on its way into a builder. numbers: the builder's number of each of the graph's values."""

    graph: Graph
    builder: Builder
    numbers: dict[int, int]

    def value(self, name: int) -> Value:
        if name not in self.graph.values:
            raise Unreadable(f"the file is damaged: XNNPACK's graph has no value {name}")
        return self.graph.values[name]

    def live(self, name: int) -> bool:
        self.value(name)
        return self.builder.live(self.numbers[name])

    def constant(self, name: int) -> Tensor:
        if self.live(name):
            raise Unreadable("XNNPACK's graph computes the weights of a layer from its input")
        return self.builder.constants[self.numbers[name]]

    def add(self, node: Node, run: Run | None, *names: int, moves: bool = False, count: int = 0) -> None:
        """The node's output is `run` of the named values, within its bounds, on its grid.

        moves: numbers only change places, so that one grid is kept as it is. count: it is a mean of that many numbers.
        """
        source, target = self.value(names[0]), self.value(node["output"])
        unit = unit_of(source, count=count) if count else None
        ending = None if moves and same_grid(source, target) else rounding(target, unit)
        for name in names:
            self.value(name)
        self.builder.add(chain(run, _bounds(node), ending), [self.numbers[name] for name in names], self.output(node))

    def end(self, node: Node) -> Run | None:
        """The rounding of a layer's output."""
        return rounding(self.value(node["output"]), unit_of(self.value(node["input"]), self.value(node["filter"])))

    def output(self, node: Node) -> int:
        self.value(node["output"])
        return self.numbers[node["output"]]


def lower(graph: Graph, builder: Builder, externals: dict[int, int]) -> None:
    """Add a graph to a builder. externals: the builder's numbers of the delegate call's arguments, by their place.

    Raises Unreadable naming the first node that is not covered.
    """
    lowering = Lowering(graph, builder, {name: builder.fresh() for name in graph.values})
    for name, value in graph.values.items():
        if value.external is not None and value.external not in externals:
            raise Unreadable("the file is damaged: XNNPACK's graph names an argument that its call does not have")
        if value.constant is not None:
            builder.constant(lowering.numbers[name], real(value))
        elif value.external is not None and name not in graph.outputs:
            builder.add(from_stored(value), [externals[value.external]], lowering.numbers[name])
    builder.rounded |= any(value.datatype == "qint8" for value in graph.values.values())
    for node in graph.nodes:
        if node.kind not in LOWERINGS:
            raise Unreadable(f"XNNPACK's {node.kind} is not read here")
        LOWERINGS[node.kind](lowering, node)
    for name in graph.outputs:
        external = lowering.value(name).external
        if external is None:
            raise Unreadable("the file is damaged: XNNPACK's graph gives a value to no argument")
        builder.add(to_stored(lowering.value(name)), [lowering.numbers[name]], externals[external])


def _bounds(node: Node) -> Run | None:
    if node.low == -math.inf and node.high == math.inf:
        return None
    if not node.low <= node.high:
        raise Unreadable(f"the file is damaged: bounds from {node.low} to {node.high}")
    return (
        functional.relu if (node.low, node.high) == (0, math.inf) else partial(torch.clamp, min=node.low, max=node.high)
    )


def _unary(run: Run | None, moves: bool = False) -> "Lower":
    return lambda lowering, node: lowering.add(node, run or _identity, node["input"], moves=moves)


def _binary(run: Run) -> "Lower":
    return lambda lowering, node: lowering.add(node, run, node["input1"], node["input2"])


def _sum(lowering: Lowering, node: Node, sign: int) -> None:
    names = (node["input1"], node["input2"])
    a, b, output = (lowering.value(name) for name in (*names, node["output"]))
    run = sum_on_grid(a, b, output, _bounds(node), sign)
    if run is None:
        lowering.add(node, torch.add if sign == 1 else torch.sub, *names)
    else:
        lowering.builder.add(run, [lowering.numbers[name] for name in names], lowering.output(node))


def _fully_connected(lowering: Lowering, node: Node) -> None:
    weight = lowering.constant(node["filter"])
    weight = weight.T if node["flags"] & TRANSPOSED else weight
    if weight.ndim != 2 or lowering.value(node["input"]).shape[-1:] != weight.shape[1:]:
        raise Unreadable(f"the file is damaged: a linear layer with weights of shape {tuple(weight.shape)}")
    bounds, ending = _bounds(node), lowering.end(node)
    layer = linear(weight, _bias(lowering, node), rounding=None if bounds else ending)
    _weighted(lowering, node, "linear", layer, None, chain(bounds, ending) if bounds else None)


def _convolution(lowering: Lowering, node: Node, depthwise: bool) -> None:
    weight = lowering.constant(node["filter"])
    kernel = (node["kernel_height"], node["kernel_width"])
    if weight.ndim != 4 or tuple(weight.shape[1:3]) != kernel:
        raise Unreadable(f"the file is damaged: a convolution with weights of shape {tuple(weight.shape)}")
    weight = weight.permute((3, 0, 1, 2) if depthwise else TO_NCHW)
    top, right, bottom, left = _padding(lowering, node)
    even = (top, left) == (bottom, right)
    layer = conv2d(
        weight,
        _bias(lowering, node),
        stride=(node["stride_height"], node["stride_width"]),
        padding=(top, left) if even else 0,
        dilation=(node["dilation_height"], node["dilation_width"]),
        groups=node["groups"],
    )
    entering = None if even else partial(functional.pad, pad=(left, right, top, bottom))
    leaving = chain(partial(torch.permute, dims=TO_NHWC), _bounds(node), lowering.end(node))
    _weighted(lowering, node, "conv", layer, chain(partial(torch.permute, dims=TO_NCHW), entering), leaving)


def _weighted(
    lowering: Lowering, node: Node, kind: str, layer: nn.Module, entering: Run | None, leaving: Run | None
) -> None:
    """The layer is a step of its own: what goes in and comes out can be seen."""
    builder, source, target = lowering.builder, lowering.numbers[node["input"]], lowering.output(node)
    if entering is not None:
        entered = builder.fresh()
        builder.add(entering, [source], entered)
        source = entered
    answer = target if leaving is None else builder.fresh()
    builder.layer(kind, layer, source, answer)
    if leaving is not None:
        builder.add(leaving, [answer], target)


def _bias(lowering: Lowering, node: Node) -> Tensor | None:
    return None if node["bias"] == NONE else lowering.constant(node["bias"])


def _max_pool(lowering: Lowering, node: Node) -> None:
    top, right, bottom, left = _padding(lowering, node)
    pad = (
        partial(functional.pad, pad=(left, right, top, bottom), value=-math.inf)
        if top + right + bottom + left
        else None
    )
    pool = partial(
        functional.max_pool2d,
        kernel_size=(node["kernel_height"], node["kernel_width"]),
        stride=(node["stride_height"], node["stride_width"]),
        dilation=(node["dilation_height"], node["dilation_width"]),
    )
    lowering.add(node, _on_images(chain(pad, pool)), node["input"], moves=True)


def _average_pool(lowering: Lowering, node: Node) -> None:
    top, right, bottom, left = _padding(lowering, node)
    if (top, left) != (bottom, right):
        raise Unreadable("XNNPACK's AvgPooling2d with uneven padding is not read here")
    pool = partial(
        functional.avg_pool2d,
        kernel_size=(node["kernel_height"], node["kernel_width"]),
        stride=(node["stride_height"], node["stride_width"]),
        padding=(top, left),
        count_include_pad=False,
    )
    count = 0 if top + left else node["kernel_height"] * node["kernel_width"]
    lowering.add(node, _on_images(pool), node["input"], count=count)


def _padding(lowering: Lowering, node: Node) -> tuple[int, int, int, int]:
    """(top, right, bottom, left), after checking that the windows give the output's size: nothing huge is made."""
    if node["flags"] & TENSORFLOW_SAME:
        raise Unreadable(f"XNNPACK's {node.kind} with 'same' padding is not read here")
    pads = (node["padding_top"], node["padding_right"], node["padding_bottom"], node["padding_left"])
    source, target = lowering.value(node["input"]).shape, lowering.value(node["output"]).shape
    for axis, side, pad in ((1, "height", pads[0] + pads[2]), (2, "width", pads[1] + pads[3])):
        shapes.check_window(
            source,
            target,
            axis,
            pad=pad,
            kernel=node[f"kernel_{side}"],
            stride=node[f"stride_{side}"],
            dilation=node.fields.get(f"dilation_{side}") or 1,
        )
    return pads


def _on_images(run: Run) -> Run:
    return chain(partial(torch.permute, dims=TO_NCHW), run, partial(torch.permute, dims=TO_NHWC))


def _global_pool(lowering: Lowering, node: Node) -> None:
    count = math.prod(lowering.value(node["input"]).shape[1:3])
    run = partial(torch.mean, dim=(1, 2), keepdim=bool(node["flags"] & KEEP_DIMS))
    lowering.add(node, run, node["input"], count=count)


def _transpose(lowering: Lowering, node: Node) -> None:
    shapes.check_order(node["perm"], lowering.value(node["input"]).shape, keeps_first=lowering.live(node["input"]))
    lowering.add(node, partial(torch.permute, dims=node["perm"]), node["input"], moves=True)


def _reshape(lowering: Lowering, node: Node) -> None:
    wanted = tuple(size or -1 for size in node["shape"])
    batch = lowering.builder.batch if lowering.live(node["input"]) else None
    run = shapes.reshape(lowering.value(node["input"]).shape, wanted, batch)
    lowering.add(node, run, node["input"], moves=True)


def _pad(lowering: Lowering, node: Node) -> None:
    source, target = lowering.value(node["input"]).shape, lowering.value(node["output"]).shape
    sizes = tuple(map(sum, zip(node["before"], source, node["after"], strict=True)))
    if sizes != target or (lowering.live(node["input"]) and sizes[0] != source[0]):
        raise Unreadable(f"the file is damaged: padding makes {target} out of {source}")
    sides = [size for pair in zip(reversed(node["before"]), reversed(node["after"]), strict=True) for size in pair]
    lowering.add(node, partial(functional.pad, pad=sides, value=node["padding"]), node["input"])


def _slice(lowering: Lowering, node: Node) -> None:
    source = lowering.value(node["input"]).shape
    stops = [start + size or None for start, size in zip(node["offsets"], node["sizes"], strict=True)]
    parts = [slice(start, stop) for start, stop in zip(node["offsets"], stops, strict=True)]
    if len(parts) != len(source):
        raise Unreadable(f"the file is damaged: it slices {len(source)} axes as {len(parts)}")
    if lowering.live(node["input"]):
        if parts[0] != slice(0, source[0]):
            raise Unreadable("the program takes some samples of a batch only")
        parts[0] = slice(None)
    lowering.add(node, partial(_part, parts=tuple(parts)), node["input"], moves=True)


def _part(x: Tensor, *, parts: tuple[slice, ...]) -> Tensor:
    return x[parts]


def _concatenate(lowering: Lowering, node: Node) -> None:
    names = [node[f"input{number}"] for number in range(1, 1 + int(node.kind[-1]))]
    axis = node["axis"] if node["axis"] < 2**31 else node["axis"] - 2**32
    lowering.add(node, partial(_join, axis=axis), *names)


def _join(*parts: Tensor, axis: int) -> Tensor:
    return torch.cat(parts, axis)


def _resize(lowering: Lowering, node: Node) -> None:
    size = (node["height"], node["width"])
    if lowering.value(node["output"]).shape[1:3] != size:
        raise Unreadable(f"the file is damaged: resizing to {size}")
    corners = bool(node["flags"] & ALIGN_CORNERS)
    run = partial(functional.interpolate, size=size, mode="bilinear", align_corners=corners)
    lowering.add(node, _on_images(run), node["input"])


def _product(lowering: Lowering, node: Node) -> None:
    run = partial(_matmul, transposed=bool(node["flags"] & TRANSPOSED))
    lowering.add(node, run, node["input1"], node["input2"])


def _matmul(a: Tensor, b: Tensor, *, transposed: bool) -> Tensor:
    return a @ (b.mT if transposed else b)


def _prelu(x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x > 0, x, slope * x)


def _identity(x: Tensor) -> Tensor:
    return x


Lower = Callable[[Lowering, Node], None]

LOWERINGS: dict[str, Lower] = {
    "Add": partial(_sum, sign=1),
    "Subtract": partial(_sum, sign=-1),
    "Multiply": _binary(torch.mul),
    "Div": _binary(torch.div),
    "Minimum": _binary(torch.minimum),
    "Maximum": _binary(torch.maximum),
    "PReLU": _binary(_prelu),
    "BatchMatrixMultiply": _product,
    "FullyConnected": _fully_connected,
    "Conv2d": partial(_convolution, depthwise=False),
    "DepthwiseConv2d": partial(_convolution, depthwise=True),
    "MaxPooling2d": _max_pool,
    "AvgPooling2d": _average_pool,
    "GlobalAvgPooling2d": _global_pool,
    "StaticTranspose": _transpose,
    "StaticReshape": _reshape,
    "StaticConstantPad": _pad,
    "StaticSlice": _slice,
    "StaticResizeBilinear2D": _resize,
    **{f"Concatenate{count}": _concatenate for count in range(2, 6)},
    "Softmax": _unary(partial(torch.softmax, dim=-1)),
    "LeakyReLU": lambda lowering, node: lowering.add(
        node, partial(functional.leaky_relu, negative_slope=node["slope"]), node["input"]
    ),
    "ELU": lambda lowering, node: lowering.add(node, partial(functional.elu, alpha=node["alpha"]), node["input"]),
    "Convert": _unary(_identity),
    "Clamp": _unary(_identity),
    "Copy": _unary(_identity, moves=True),
    "Sigmoid": _unary(torch.sigmoid),
    "Floor": _unary(torch.floor),
    "Ceiling": _unary(torch.ceil),
    "SquareRoot": _unary(torch.sqrt),
    "ReciprocalSquareRoot": _unary(torch.rsqrt),
    "Hardswish": _unary(functional.hardswish),
    "Negate": _unary(torch.neg),
    "Square": _unary(torch.square),
    "Abs": _unary(torch.abs),
    "Log": _unary(torch.log),
    "Exp": _unary(torch.exp),
    "Gelu": _unary(functional.gelu),
    "Tanh": _unary(torch.tanh),
    "Sin": _unary(torch.sin),
    "Cos": _unary(torch.cos),
}
