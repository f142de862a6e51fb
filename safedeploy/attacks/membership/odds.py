"""A classifier's log-odds from a few columns: boosted trees find the shape, a smooth model keeps scores from tying.

Histogram-based gradient boosting, plus logistic regression on the columns, their squares and products; the latter
counts in full where rows are few, where trees find little, and less the more there are.
"""

from typing import Any

import numpy as np

from safedeploy.attacks.references import Bools, Floats
from safedeploy.seeds import derive, numpy_generator

CLIP = 0.002  # quantiles beyond which a column is held, as products of far values would rule the smooth model
SMOOTH_ROWS = 30_000
FEW_ROWS = 4_000  # up to which the smooth model counts in full
REGULAR = 0.001  # scikit-learn's C


class Odds:
    """Fitted to rows (n, columns), already finite, and whether each is a member (n,)."""

    def __init__(self, rows: Floats, member: Bools, seed: int) -> None:
        from sklearn.ensemble import HistGradientBoostingClassifier
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import PolynomialFeatures, StandardScaler

        self._weight = min(1.0, FEW_ROWS / len(rows))
        few = int(np.clip(len(rows) // 50, 5, 300))
        self._trees: Any = HistGradientBoostingClassifier(
            max_iter=100 if len(rows) > SMOOTH_ROWS else 60,
            max_leaf_nodes=8,
            learning_rate=0.06,
            min_samples_leaf=few,
            l2_regularization=10.0,
            early_stopping=False,
            random_state=derive(seed, "odds") % 2**32,
        ).fit(rows, member)
        chosen = numpy_generator(seed, "odds rows").permutation(len(rows))[:SMOOTH_ROWS]
        self._low, self._high = np.quantile(rows[chosen], (CLIP, 1 - CLIP), axis=0)
        self._smooth: Any = make_pipeline(
            StandardScaler(),
            PolynomialFeatures(2, include_bias=False),
            StandardScaler(),
            LogisticRegression(C=REGULAR, max_iter=300),
        ).fit(np.clip(rows[chosen], self._low, self._high), member[chosen])

    def of(self, rows: Floats) -> Floats:
        """Log-odds of membership, (n,)."""
        smooth = self._smooth.decision_function(np.clip(rows, self._low, self._high))
        return np.asarray(self._trees.decision_function(rows) + self._weight * smooth, dtype=np.float64)
