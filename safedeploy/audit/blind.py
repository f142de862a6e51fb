"""The blind control: can inputs and labels alone tell members from others? Then nothing is proven."""

import numpy as np
from numpy.typing import NDArray

from safedeploy.attacks.base import Knowledge
from safedeploy.data.samples import Samples
from safedeploy.results import BlindControl
from safedeploy.roc import auc_interval
from safedeploy.seeds import derive, numpy_generator

MAX_KNOWN = 4000  # samples a side to fit on: enough for any shift that matters
CONFIDENCE = 0.99  # of the interval that must exclude ½ before the sets are called different


def blind_control(knowledge: Knowledge, members: Samples, nonmembers: Samples) -> BlindControl:
    """Extremely randomised trees on inputs and label, fitted on the known samples, judged on the evaluation ones."""
    from sklearn.ensemble import ExtraTreesClassifier

    known = [_rows(_some(side, knowledge.seed)) for side in (knowledge.members, knowledge.nonmembers)]
    seed = derive(knowledge.seed, "blind") % 2**32
    trees = ExtraTreesClassifier(n_estimators=200, min_samples_leaf=5, random_state=seed)
    trees.fit(np.concatenate(known), np.repeat([1, 0], [len(side) for side in known]))
    inside, outside = (trees.predict_proba(_rows(side))[:, 1] for side in (members, nonmembers))
    value, low, high = auc_interval(inside, outside)
    shifted = auc_interval(inside, outside, CONFIDENCE)[1] > 0.5
    return BlindControl(auc=value, auc_low=low, auc_high=high, shifted=shifted)


def _some(samples: Samples, seed: int) -> Samples:
    return samples.at(numpy_generator(seed, "blind").permutation(len(samples.y))[:MAX_KNOWN])


def _rows(samples: Samples) -> NDArray[np.float32]:
    """Flattened inputs, and the label as a last column: a shift in class balance is a shift too."""
    return np.column_stack([samples.x.reshape(len(samples.y), -1), samples.y.astype(np.float32)])
