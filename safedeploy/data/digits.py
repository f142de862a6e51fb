"""The embedded data set: scikit-learn's 1,797 handwritten digits, 8 × 8 grey, values 0 to 16 (UCI, 1998)."""

import numpy as np

from safedeploy.data.dataset import Dataset
from safedeploy.results import Preprocessing


def load() -> Dataset:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return Dataset(
        name="digits",
        kind="image",
        x=digits.images.astype(np.uint8)[:, None],
        y=digits.target.astype(np.int64),
        class_names=tuple(str(digit) for digit in range(10)),
        preprocessing=Preprocessing(raw="uint8 grey, 0 to 16", scale=1 / 16, mean=[0.5], std=[0.5]),
    )
