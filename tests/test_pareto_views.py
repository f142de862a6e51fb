"""An augmented cell is judged at every view, on probabilities small enough to work out by hand."""

import numpy as np
import pytest

from benchmarks.pareto_judge import at_views

# p of the label: the victim's, two references that had the sample, two that had not; the second view tells nothing
PROBABILITY = np.array([[0.8, 0.5], [0.6, 0.5], [0.9, 0.5], [0.5, 0.5], [0.3, 0.5]])
MEMBER = np.array([[True], [True], [True], [False], [False]])


def asked(probability):
    """probability: (models, views) → what `at_views` finds in one sample of two classes, the label the second."""
    logits = np.stack([np.zeros_like(probability), np.log(probability) - np.log1p(-probability)], axis=2)
    found = at_views(logits[:, None].astype(np.float32), MEMBER, np.array([1]), 0, [1, 2, 3, 4])
    return {name: float(values[0]) for name, values in found.items()}


def test_rmia_at_views_is_its_mean_over_them():
    """(.6 + .9) / 2 = .75 with the sample and .4 without, mean .575: log(.8 / .575), and nothing at the other view."""
    assert asked(PROBABILITY)["rmia-online at 2 views"] == pytest.approx(np.log(0.8 / 0.575) / 2, abs=1e-6)


def test_lira_at_views_is_its_sum_over_them():
    one, two = asked(PROBABILITY[:, :1]), asked(PROBABILITY[:, [0, 0]])
    assert two["lira-online at 2 views"] == pytest.approx(2 * one["lira-online at 1 views"], rel=1e-6)
    assert two["rmia-online at 2 views"] == pytest.approx(one["rmia-online at 1 views"], rel=1e-6)
