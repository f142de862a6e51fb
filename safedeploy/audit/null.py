"""What attacks reach on a model that leaks nothing: membership of the judged samples drawn afresh, for all at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from safedeploy.audit.ranking import allowed_false_positives, chunks, rank, true_positives
from safedeploy.results import NullBand, NullFigure
from safedeploy.seeds import numpy_generator

Floats = NDArray[np.float64]

DRAWS = 1000


@dataclass(frozen=True, eq=False)
class Null:
    """`auc`: (A, B) of A attacks in B draws. `tpr`: by false-positive rate, (A, B)."""

    auc: Floats
    tpr: dict[float, Floats]

    def band(self) -> NullBand:
        """Mean and 95th percentile of the best of the attacks."""
        figures = {"auc": self.auc, **{f"tpr@{fpr:g}": rates for fpr, rates in self.tpr.items()}}
        best = {name: values.max(axis=0) for name, values in figures.items()}
        return NullBand(
            attacks=len(self.auc),
            draws=self.auc.shape[1],
            figures=[
                NullFigure(
                    figure=name, mean=float(values.mean()), high=float(np.quantile(values, 0.95, method="higher"))
                )
                for name, values in best.items()
            ],
        )


def permute(scores: Floats, members: int, fprs: Sequence[float], seed: int, draws: int = DRAWS) -> Null:
    """The joint null of A attacks. `scores`: (A, n), the first `members` columns of members.

    Exact given the attackers, because they were fitted on other samples: if the model treats members and non-members
    alike, every choice of who is called a member is equally likely (Fisher's permutation test). One draw serves all
    attacks, so that the band of their maximum knows how alike they are.
    """
    total = scores.shape[1]
    outside = total - members
    rankings = [rank(row) for row in scores]
    ranks = stats.rankdata(scores, axis=1)
    allowed = [allowed_false_positives(fpr, outside) for fpr in fprs]
    labels = np.repeat(np.array([1, 0], dtype=np.uint8), [members, outside])
    draw = numpy_generator(seed, "null")
    areas, rates = [], []
    for size in chunks(total, draws):
        inside = np.ascontiguousarray(draw.permuted(np.tile(labels, (size, 1)), axis=1).T)
        areas.append((ranks @ inside - members * (members + 1) / 2) / (members * outside))
        hits = [true_positives(ranking, inside, 1 - inside, allowed) for ranking in rankings]
        rates.append(np.stack(hits) / members)
    tpr = np.concatenate(rates, axis=2)
    return Null(np.concatenate(areas, axis=1), {fpr: tpr[:, place] for place, fpr in enumerate(fprs)})


def p_value(null: Floats, figure: float) -> float:
    """How often `null` (B,) reaches `figure`; the figure itself counts as one draw (Phipson & Smyth 2010)."""
    return float((1 + (null >= figure - 1e-12).sum()) / (1 + null.size))
