"""The torch model's own answers, which every exported file is held against, and the inputs they need."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from safedeploy.errors import UserError
from safedeploy.export.quiet import quiet
from safedeploy.export.trace import reason
from safedeploy.export.verify import Logits

if TYPE_CHECKING:
    import torch


def torch_answers(model: "torch.nn.Module") -> Callable[[Logits], Logits]:
    """Asks `model`, on the CPU in eval mode, for x (n, *input_shape): its answers (n, classes), finite or not."""
    import torch

    def answers(x: Logits) -> Logits:
        with torch.no_grad():
            return np.asarray(model(torch.from_numpy(x)).numpy())

    return answers


def reference_logits(
    model: "torch.nn.Module",
    model_name: str,
    class_names: Sequence[str],
    calibration: NDArray[np.float32],
    x: NDArray[np.float32],
    y: NDArray[np.int64],
) -> Logits:
    """The logits (n, classes) of `model`, on the CPU in eval mode, for x (n, *input_shape).

    Raises UserError where calibration inputs, x, labels y (n,), class names and the model do not fit one another.
    """
    import torch

    from safedeploy.artifacts.torch import TorchArtifact

    shape, classes = x.shape[1:], len(class_names)
    if len(shape) not in (1, 3):
        raise UserError(f"{model_name} takes {shape}; a bundle's model takes (channels, height, width) or (columns,)")
    if not len(x) or not len(calibration):
        raise UserError("an export needs at least one validation input and one calibration input")
    if calibration.shape[1:] != shape or not np.isfinite(calibration).all():
        raise UserError(f"calibration inputs must be finite and of shape {shape}, as the validation inputs are")
    if len(y) != len(x) or y.min() < 0 or y.max() >= classes:
        raise UserError(f"the export needs one label from 0 to {classes - 1} for each of {len(x)} validation inputs")
    try:
        with quiet(), torch.no_grad():
            answer = model(torch.from_numpy(x[:1]))
    except Exception as error:  # whatever a user's own forward raises
        raise UserError(f"{model_name} does not answer inputs of shape {shape}: {reason(error)}") from error
    if not isinstance(answer, torch.Tensor) or answer.shape != (1, classes):
        what = f"shape {tuple(answer.shape)}" if isinstance(answer, torch.Tensor) else f"a {type(answer).__name__}"
        raise UserError(
            f"{model_name} gives {what} for one input; its forward must give one tensor, (n, {classes}) logits"
        )
    with quiet():
        logits = TorchArtifact(model, model_name, shape, classes, "cpu").logits(x)
    if (logits >= 0).all() and np.allclose(logits.sum(axis=1), 1, atol=1e-3):
        raise UserError(f"{model_name} gives probabilities, a bundle's files give logits; leave out its softmax")
    return logits
