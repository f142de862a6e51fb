"""Many modules of one architecture as float32 ONNX: the exporter's graph once, other weights written into it."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from safedeploy.artifacts.onnx import OnnxArtifact
from safedeploy.export.onnx import export_onnx
from safedeploy.export.quiet import quiet
from safedeploy.rundir import write_bytes

if TYPE_CHECKING:
    import torch

CLOSE = 1e-4  # of the largest logit, or of 1 where that is less
FLOATS = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE}

Tensors = dict[str, NDArray[np.float32]]


class Exporter:
    """Exports modules that differ in their weights alone.

    The first module gives the template. The second is exported in full too, and only if the rewritten template is that
    very file, byte for byte, are later modules rewritten; each rewritten file's answers are compared with its module's.
    Whatever does not pass is exported in full.
    """

    def __init__(self, input_shape: tuple[int, ...], *, opset: int, model_name: str, x: NDArray[np.float32]) -> None:
        """x: (n, *input_shape), the inputs on which a rewritten file must answer as its module."""
        self.input_shape, self.opset, self.model_name, self.x = input_shape, opset, model_name, x
        self.rewritten = 0  # files so far that were not exported in full
        self._template: Template | None = None
        self._proven = False
        self._hopeless = False

    def export(self, module: "torch.nn.Module", path: Path) -> None:
        """Write `module` (on the CPU, in eval mode) to `path`. Raises UserError where the exporter cannot."""
        weights = tensors(module)
        if self._proven and self._template is not None:
            write_bytes(path, self._template.filled(weights))
            if self._answers_alike(path, module):
                self.rewritten += 1
                return
        export_onnx(module, self.input_shape, path, opset=self.opset, model_name=self.model_name)
        if self._hopeless or self._proven:
            return
        if self._template is None:
            self._template = make_template(onnx.load(path), weights)
            self._hopeless = self._template is None
        else:
            self._proven = self._template.filled(weights) == path.read_bytes()
            self._hopeless = not self._proven

    def _answers_alike(self, path: Path, module: "torch.nn.Module") -> bool:
        import torch

        with quiet(), torch.no_grad():
            wanted = module(torch.from_numpy(self.x)).numpy()
            found = OnnxArtifact(path, threads=1).logits(self.x)
        return bool(np.abs(found - wanted).max() <= CLOSE * max(1.0, float(np.abs(wanted).max())))


class Template:
    """A graph, and for each of its weights which of a module's tensors it is."""

    def __init__(self, model: onnx.ModelProto, places: dict[int, tuple[str, bool]]) -> None:
        """places: number of the initialiser → (name of the module's tensor, whether it is stored transposed)."""
        self._model, self._places = model, places

    def filled(self, weights: Tensors) -> bytes:
        """The file with other weights of the same names and shapes."""
        for number, (name, transposed) in self._places.items():
            value = weights[name].T if transposed else weights[name]
            self._model.graph.initializer[number].raw_data = np.ascontiguousarray(value).tobytes()
        return bytes(self._model.SerializeToString(deterministic=True))


def make_template(model: onnx.ModelProto, weights: Tensors) -> Template | None:
    """Where each float initialiser is exactly one of `weights`, as it is or transposed; None where one is several.

    An initialiser that is none of them stays as it is: a constant, as the comparison with a second export must show.
    """
    places = {}
    for number, initialiser in enumerate(model.graph.initializer):
        if initialiser.data_type not in FLOATS:
            continue
        value = numpy_helper.to_array(initialiser)
        same = [(name, False) for name, tensor in weights.items() if _equal(value, tensor)]
        same += [(name, True) for name, tensor in weights.items() if tensor.ndim == 2 and _equal(value, tensor.T)]
        named = [place for place in same if place == (initialiser.name, False)]  # equal tensors, told apart by name
        if len(same) > 1 and not named:
            return None
        if same:
            places[number] = (named or same)[0]
    return Template(model, places) if places else None


def tensors(module: "torch.nn.Module") -> Tensors:
    """A module's float32 parameters and buffers by name."""
    return {name: value.numpy() for name, value in module.state_dict().items() if value.is_floating_point()}


def _equal(value: NDArray[np.float32], tensor: NDArray[np.float32]) -> bool:
    return value.shape == tensor.shape and value.dtype == tensor.dtype and np.array_equal(value, tensor)
