"""The torch model's own answers, which every exported file is held against, and the inputs they need."""

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from safedeploy.errors import UserError
from safedeploy.export.quiet import quiet
from safedeploy.export.trace import reason
from safedeploy.export.verify import Logits
from safedeploy.seeds import torch_generator

if TYPE_CHECKING:
    import torch

UNIT_ROUNDOFF = 2.0**-24
LAST_BITS = 16  # roundings that a term goes through; answers of sound files came to a third of this bound at most
PERTURBED = 16


def torch_answers(model: "torch.nn.Module") -> Callable[[Logits], Logits]:
    """Asks `model`, on the CPU in eval mode, for x (n, *input_shape): its answers (n, classes), finite or not."""
    import torch

    def answers(x: Logits) -> Logits:
        with torch.no_grad():
            return np.asarray(model(torch.from_numpy(x)).numpy())

    return answers


def torch_rounding(model: "torch.nn.Module") -> Callable[[Logits], float]:
    """Asks how far float32 may carry an answer of `model` to x (n, *input_shape) from where exact arithmetic puts it.

    A dot product in float32 is the exact one of weights that differ in their last bits (Higham, Accuracy and Stability
    of Numerical Algorithms, 2nd ed., §3.1, eq. 3.4: by a factor of at most 1 + γ, in whichever order it is summed). So
    the model is asked in float64, as it is and PERTURBED times with every weight off by up to LAST_BITS of float32's
    unit roundoff; the largest difference is the answer. 0.0 where the model cannot be had in float64.
    """
    import torch

    def rounding(x: Logits) -> float:
        generator = torch_generator(0, "rounding")
        inputs = torch.from_numpy(x).double()
        try:
            exact = copy.deepcopy(model).double()
            with quiet(), torch.no_grad():
                wanted, furthest = exact(inputs), 0.0
                for _ in range(PERTURBED):
                    other = copy.deepcopy(exact)
                    for weight in other.parameters():
                        off = torch.rand(weight.shape, generator=generator, dtype=weight.dtype) * 2 - 1
                        weight.mul_(1 + LAST_BITS * UNIT_ROUNDOFF * off)
                    furthest = max(furthest, float((other(inputs) - wanted).abs().max()))
        except Exception:  # whatever a user's own forward raises when asked for float64
            return 0.0
        return furthest

    return rounding


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
