"""The torch model's own answers, which every exported file is held against, and the inputs they need."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from safedeploy.errors import UserError
from safedeploy.export.trace import reason
from safedeploy.export.verify import Logits

if TYPE_CHECKING:
    import torch


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
        logits = TorchArtifact(model, model_name, shape, classes, "cpu").logits(x)
    except UserError:
        raise
    except Exception as error:  # whatever a user's own forward raises
        raise UserError(f"{model_name} does not answer inputs of shape {shape}: {reason(error)}") from error
    if logits.shape != (len(x), classes):
        raise UserError(f"{model_name} gives {logits.shape[1]} logits an input, but there are {classes} class names")
    if (logits >= 0).all() and np.allclose(logits.sum(axis=1), 1, atol=1e-3):
        raise UserError(f"{model_name} gives probabilities, a bundle's files give logits; leave out its softmax")
    return logits
