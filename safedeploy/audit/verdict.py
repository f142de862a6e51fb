"""Evidence against a budget: pass, fail or inconclusive. The worst attack decides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from safedeploy.results import AttackEvidence, BlindControl, Verdict


@dataclass(frozen=True)
class _Finding:
    outcome: Literal["fail", "inconclusive", "pass"]
    excess: float
    attack: str
    reason: str


def decide(attacks: Sequence[AttackEvidence], budget: Mapping[str, float], blind: BlindControl | None) -> Verdict:
    """fail: a figure is above its budget (and, for a rate, above the null band). pass: every interval lies within.

    inconclusive: in between, or too few samples for the rate asked, or the blind control shows that the sets differ.
    """
    strongest = max(attacks, key=lambda attack: attack.auc)
    if not budget:
        return Verdict(outcome="none", budget={}, worst_attack=strongest.name, reason="no budget was given")
    if blind is not None and blind.shifted:
        reason = (
            f"members and non-members differ in distribution: a classifier that never saw the model tells them apart "
            f"(AUC {blind.auc:.3f}), so no attack's figure is the model's leakage; give sets drawn from one source"
        )
        return Verdict(outcome="inconclusive", budget=dict(budget), worst_attack=strongest.name, reason=reason)
    findings = [_find(attack, key, limit) for key, limit in budget.items() for attack in attacks]
    for outcome in ("fail", "inconclusive", "pass"):
        if of_kind := [finding for finding in findings if finding.outcome == outcome]:
            worst = max(of_kind, key=lambda finding: finding.excess)
            return Verdict(outcome=worst.outcome, budget=dict(budget), worst_attack=worst.attack, reason=worst.reason)
    raise AssertionError("a budget always yields a finding")


def _find(attack: AttackEvidence, key: str, limit: float) -> _Finding:
    if key == "auc":
        figure, high, evidence = attack.auc, attack.auc_high, f"[{attack.auc_low:.3f}, {attack.auc_high:.3f}]"
        resolvable, above_null = True, True
    else:
        rate = next(rate for rate in attack.tpr if f"{rate.fpr:g}" == f"{float(key.removeprefix('tpr@')):g}")
        figure, high, resolvable, above_null = rate.tpr, rate.high, rate.resolvable, rate.tpr > rate.null_high
        counts = f"{rate.true_positives} members and {rate.false_positives} non-members above the cut"
        evidence = f"[{rate.low:.4f}, {rate.high:.4f}], {counts}"
    shown = f"{attack.name}: {key} {figure:.4g} {evidence}, budget {limit:g}"
    if figure > limit and above_null:
        return _Finding("fail", figure - limit, attack.name, f"budget exceeded by {shown}")
    if not resolvable:
        return _Finding("inconclusive", figure - limit, attack.name, f"too few non-members to resolve {shown}")
    if figure > limit or high > limit:
        reason = f"the interval reaches over the budget for {shown}; more samples would narrow it"
        return _Finding("inconclusive", high - limit, attack.name, reason)
    return _Finding("pass", high - limit, attack.name, f"every interval lies within the budget; nearest is {shown}")
