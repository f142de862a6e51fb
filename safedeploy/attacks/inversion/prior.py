"""What the attacker takes for likely before asking the file: inputs within the range of its own, smooth if images."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from safedeploy.artifacts.base import Array
from safedeploy.attacks.base import Floats, Knowledge

LEAST = 0.05  # of the mean deviation: a pixel that never varies can still be moved a little
BLUR = 1.5  # pixels


@dataclass(frozen=True, eq=False)
class Prior:
    """Each (*input_shape), of the attacker's known samples without their labels; `image`: neighbours are alike."""

    mean: Floats
    deviation: Floats
    low: Floats
    high: Floats
    image: bool

    def inputs(self, x: Floats) -> Array:
        """`x` (n, *input_shape), in deviations from the mean, as the model takes it."""
        return np.ascontiguousarray(self.mean + self.deviation * x, dtype=np.float32)

    def smooth(self, x: Floats) -> Floats:
        """Images (n, channels, height, width) blurred; anything else as it is."""
        return np.asarray(gaussian_filter(x, sigma=(0, 0, BLUR, BLUR))) if self.image else x

    def noise(self, shape: tuple[int, ...], generator: np.random.Generator) -> Floats:
        """Normal noise of deviation 1, smooth for images."""
        drawn = self.smooth(generator.standard_normal(shape))
        return np.asarray(drawn / drawn.std())


def prior(knowledge: Knowledge) -> Prior:
    known = np.concatenate([knowledge.members.x, knowledge.nonmembers.x]).astype(np.float64)
    deviation = known.std(axis=0)
    deviation = np.maximum(deviation, max(LEAST * float(deviation.mean()), 1e-6))
    return Prior(known.mean(axis=0), deviation, known.min(axis=0), known.max(axis=0), image=known.ndim == 4)
