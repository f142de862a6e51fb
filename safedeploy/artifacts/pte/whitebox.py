"""The white box of a .pte file: its program rebuilt as a module, opened only where both give the same answers."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from safedeploy.artifacts.base import Array, Features, Inner, Unopenable
from safedeploy.artifacts.pte.rebuild import FAULTS, rebuild
from safedeploy.artifacts.tokens import token_probes
from safedeploy.artifacts.torch import TorchArtifact, TorchWhiteBox
from safedeploy.errors import UserError

if TYPE_CHECKING:
    from safedeploy.artifacts.executorch import ExecuTorchArtifact

TOLERANCE = 1e-4  # of the largest logit
ROUNDED_TOLERANCE = 0.05  # of the largest logit, for the median: a half rounds up here and down there
PROBES = 8


class ExecuTorchWhiteBox:
    """What TorchWhiteBox shows of `module`, the rebuilt program."""

    def __init__(self, artifact: "ExecuTorchArtifact") -> None:
        """Raises Unopenable with the reason where the file cannot be rebuilt or the module answers otherwise."""
        self.module = rebuild(artifact.path.read_bytes())
        self.module.tokens = artifact.tokens
        rebuilt = TorchArtifact(self.module, artifact.name, artifact.input_shape, artifact.classes, "cpu")
        _check(artifact, rebuilt)
        self._white_box = TorchWhiteBox(rebuilt)

    def features(self, x: Array) -> Features:
        return self._white_box.features(x)

    def inner(self, x: Array, y: NDArray[np.int64]) -> Inner:
        return self._white_box.inner(x, y)


def _check(artifact: "ExecuTorchArtifact", rebuilt: TorchArtifact) -> None:
    """Raises Unopenable where the rebuilt module answers probes otherwise than the runtime does."""
    x = token_probes(PROBES, artifact.input_shape, 1) if artifact.tokens else _noise(artifact.input_shape)
    wanted = artifact.logits(x)
    try:
        answers = rebuilt.logits(x)
    except (*FAULTS, UserError) as error:
        raise Unopenable(f"the program does not run when rebuilt: {' '.join(str(error).split())[:200]}") from None
    if answers.shape != wanted.shape:
        raise Unopenable(f"the program rebuilt answers in shape {answers.shape}, not {wanted.shape}")
    wrong = np.abs(answers - wanted) / max(float(np.abs(wanted).max()), 1e-6)
    close = wrong.max() <= TOLERANCE
    rounded = rebuilt.module.rounded and np.median(wrong) <= ROUNDED_TOLERANCE
    if not close and not (rounded and np.array_equal(answers.argmax(1), wanted.argmax(1))):
        raise Unopenable(f"the program rebuilt answers differently: by {wrong.max():.2g} of the largest logit")


def _noise(input_shape: tuple[int, ...]) -> Array:
    return np.random.default_rng(1).standard_normal((PROBES, *input_shape), dtype=np.float32)
