"""A torch module put together step by step out of what a file says; what depends on no input is computed once."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from safedeploy.artifacts.pte import shapes
from safedeploy.artifacts.pte.flatbuffer import Unreadable
from safedeploy.artifacts.pte.program import Program, TensorValue
from safedeploy.artifacts.pte.shapes import Run

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)


@dataclass(frozen=True, eq=False)
class Step:
    run: Run
    inputs: tuple[int, ...]
    output: int
    last_use: tuple[int, ...] = ()


class Rebuilt(nn.Module):
    """Runs the steps of a file on (n, *input_shape), whatever batch the file was exported with.

    Layers with weights are nn.Conv2d, nn.Linear and nn.Embedding, named in their order: conv1, conv2, linear1. What
    else is stored is a buffer. `rounded`: some values between the layers are integers in the file. `tokens`: so are its
    inputs.
    """

    rounded = False
    tokens = False

    def __init__(
        self, steps: Sequence[Step], constants: dict[int, Tensor], layers: dict[str, nn.Module], entry: int, end: int
    ) -> None:
        super().__init__()
        self.steps, self.entry, self.end = steps, entry, end
        for name, layer in layers.items():
            self.add_module(name, layer)
        for number, value in constants.items():
            self.register_buffer(f"constant{number}", value)

    def forward(self, x: Tensor) -> Tensor:
        values = {self.entry: x}
        for step in self.steps:
            values[step.output] = step.run(*(self._read(values, number) for number in step.inputs))
            for number in step.last_use:
                values.pop(number, None)
        return values[self.end]

    def _read(self, values: dict[int, Tensor], number: int) -> Tensor:
        return values[number] if number in values else self.get_buffer(f"constant{number}")


class Builder:
    """Collects the steps of a program. Values are numbers: the program's own, then fresh ones.

    batch: the size of the first axis that the file was exported with; steps must take any.
    """

    def __init__(self, program: Program) -> None:
        """Raises Unreadable where the program is not of one tensor with a batch axis."""
        self._program = program
        self._entry = program.inputs[0]
        self.batch = self._tensor(self._entry).shape[0]
        self._count = len(program.values)
        self._live = {self._entry}
        self._steps: list[Step] = []
        self._written: dict[tuple[int, int], int] = {}  # by place in memory: the value last written there
        self._write(self._entry)
        self.constants: dict[int, Tensor] = {}
        self.layers: dict[str, nn.Module] = {}
        self.rounded = False
        for number, value in enumerate(program.values):
            if isinstance(value, TensorValue) and value.constant is not None:
                self.constants[number] = torch.from_numpy(value.constant.copy())

    def fresh(self) -> int:
        """The number of a new value."""
        self._count += 1
        return self._count - 1

    def live(self, number: int) -> bool:
        """The value depends on the input. Raises Unreadable for one that nothing has computed yet."""
        if number not in self._live and number not in self.constants:
            self._reshaped_in_place(number)
        return number in self._live

    def constant(self, number: int, value: Tensor) -> None:
        self.constants[number] = value

    def add(self, run: Run, inputs: Sequence[int], output: int) -> None:
        """output = run(*inputs): a step, or a constant at once where no input is live."""
        if output in self._live or output in self.constants:
            raise Unreadable("the program computes one value twice")
        live = [self.live(number) for number in inputs]
        if any(live):
            self._live.add(output)
            self._steps.append(Step(run, tuple(inputs), output))
        else:
            with torch.no_grad():
                self.constants[output] = run(*(self.constants[number] for number in inputs))
        self._write(output)

    def layer(self, kind: str, layer: nn.Module, source: int, output: int) -> None:
        """output = layer(source), under the name `kind` and the layer's number among its kind."""
        count = sum(name.startswith(kind) for name in self.layers)
        self.layers[f"{kind}{count + 1}"] = layer.eval()
        self.add(layer, (source,), output)

    def finish(self) -> Rebuilt:
        """The module of the steps so far; constants that none of them reads are left out."""
        end = self._program.outputs[0]
        if not self.live(end):
            raise Unreadable("the program's answer does not depend on its input")
        last = {number: index for index, step in enumerate(self._steps) for number in step.inputs}
        steps = [
            Step(step.run, step.inputs, step.output, tuple(n for n in step.inputs if last[n] == index and n != end))
            for index, step in enumerate(self._steps)
        ]
        constants = {number: self.constants[number] for number in last if number in self.constants}
        module = Rebuilt(steps, constants, self.layers, self._entry, end).eval()
        module.rounded = self.rounded
        return module

    def _write(self, number: int) -> None:
        place = self._tensor(number).place if number < len(self._program.values) else None
        if place is not None:
            self._written[place] = number

    def _reshaped_in_place(self, number: int) -> None:
        """A tensor that no instruction computes is what was last written at its place, in its shape."""
        value = self._tensor(number)
        source = None if value.place is None else self._written.get(value.place)
        if source is None:
            raise Unreadable("the file is damaged: it uses a value before anything computes it")
        written = self._tensor(source)
        if any(one.dim_order != tuple(range(len(one.shape))) for one in (value, written)):
            raise Unreadable("the program reshapes a tensor that is not in the order of its axes")
        batch = self.batch if source in self._live else None
        self.add(shapes.reshape(written.shape, value.shape, batch), [source], number)

    def _tensor(self, number: int) -> TensorValue:
        value = self._program.values[number] if number < len(self._program.values) else None
        if not isinstance(value, TensorValue) or (number == self._entry and not value.shape):
            raise Unreadable("the file is damaged: it computes with what is no tensor")
        return value


def linear(weight: Tensor, bias: Tensor | None, rounding: Run | None = None) -> nn.Linear:
    """weight: (outputs, inputs). `rounding` is applied to the answers within the layer: it stays the last one."""
    layer = _filled(nn.Linear(weight.shape[1], weight.shape[0], bias is not None), weight, bias)
    if rounding is not None:
        layer.register_forward_hook(partial(_rounded, rounding=rounding))
    return layer


def conv2d(weight: Tensor, bias: Tensor | None, **how: Any) -> nn.Conv2d:
    """weight: (outputs, inputs / groups, height, width); how: nn.Conv2d's stride, padding, dilation and groups."""
    outputs, inputs, *kernel = weight.shape
    groups = how.get("groups", 1)
    made = nn.Conv2d(inputs * groups, outputs, (kernel[0], kernel[1]), bias=bias is not None, **how)
    return _filled(made, weight, bias)


def chain(*runs: Run | None) -> Run:
    """One function after the other; the first may take several tensors, None is left out."""
    kept = tuple(run for run in runs if run is not None)
    return kept[0] if len(kept) == 1 else partial(_in_turn, runs=kept)


def _in_turn(*inputs: Tensor, runs: tuple[Run, ...]) -> Tensor:
    x = runs[0](*inputs)
    for run in runs[1:]:
        x = run(x)
    return x


def _rounded(_: nn.Module, __: Any, answers: Tensor, *, rounding: Run) -> Tensor:
    return rounding(answers)


def _filled(layer: Layer, weight: Tensor, bias: Tensor | None) -> Layer:
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None and layer.bias is not None:
            layer.bias.copy_(bias)
    return layer
