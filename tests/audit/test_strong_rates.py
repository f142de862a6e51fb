"""Rates of attacks so strong that members fill the top of the ranking: paired differences are those of the curves."""

import numpy as np
import pytest

from safedeploy.audit.compare import rate_differences
from safedeploy.roc import tpr_at_fpr


@pytest.mark.parametrize("ahead", [1.0, 3.0, 8.0])
def test_the_difference_is_that_of_the_two_curves(ahead):
    rng = np.random.default_rng(0)
    first, second = (np.r_[rng.normal(by, 1, 2000), rng.normal(0, 1, 2000)] for by in (0.5, ahead))
    fprs = (0.01, 0.001)
    for fpr, (value, low, high, _) in zip(fprs, rate_differences(first, second, 2000, fprs, 0, 200), strict=True):
        rates = [tpr_at_fpr(values[:2000], values[2000:], fpr).tpr for values in (first, second)]
        assert value == pytest.approx(rates[1] - rates[0])
        assert low <= value <= high
