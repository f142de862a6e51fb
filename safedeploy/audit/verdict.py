"""Evidence against a budget: pass, fail or inconclusive. The worst attack decides, corrected for their number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf
from typing import Literal

from safedeploy.results import AttackEvidence, BlindControl, NullBand, SampleCounts, Verdict
from safedeploy.roc import EXPECTED_FALSE_POSITIVES

Outcome = Literal["fail", "inconclusive", "pass"]

MOST_TIMES = 1000


@dataclass(frozen=True)
class _Figure:
    """One attack's figure for one budget; `low` and `high` hold for every attack of the audit together.

    `chance`: what the best of the attacks reaches without leakage. `most`: the highest that these samples could show.
    `grounds`: counts, for the reader. `fpr`: of a rate, and `resolvable` whether the samples carry it.
    """

    attack: str
    key: str
    value: float
    low: float
    high: float
    chance: float = 0.0
    most: float = inf
    grounds: str = ""
    fpr: float = 0.0
    resolvable: bool = True


@dataclass(frozen=True)
class _Finding:
    outcome: Outcome
    excess: float
    figure: _Figure
    reason: str


def decide(
    attacks: Sequence[AttackEvidence],
    budget: Mapping[str, float],
    blind: BlindControl | None,
    *,
    null: NullBand | None = None,
    samples: SampleCounts | None = None,
) -> Verdict:
    """fail: a figure's lower bound is above its budget, and the figure above `null`, what chance gives the best attack.

    pass: every upper bound lies within. inconclusive: in between, or too few samples for the rate asked, or the blind
    control shows that the sets differ. Bounds are those that hold for all attacks at once, so that neither answer comes
    from having tried many. `samples` judged: with them an inconclusive verdict says how many would decide.
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
    findings = [_find(_figure(attack, key, null), limit) for key, limit in budget.items() for attack in attacks]
    for outcome in ("fail", "inconclusive", "pass"):
        if of_kind := [finding for finding in findings if finding.outcome == outcome]:
            worst = max(of_kind, key=lambda finding: finding.excess)
            figure, reason = worst.figure, worst.reason
            asked = outcome == "inconclusive" and samples is not None
            more = _needed(figure, budget[figure.key], samples) if asked and samples else None
            if more:
                reason += f"; about {more.members:,} members and {more.nonmembers:,} non-members judged would decide"
            outcome_, named = worst.outcome, figure.attack
            return Verdict(outcome=outcome_, budget=dict(budget), worst_attack=named, reason=reason, needed=more)
    raise AssertionError("a budget always yields a finding")


def _figure(attack: AttackEvidence, key: str, null: NullBand | None) -> _Figure:
    """The figure `key` names. Evidence of one attack alone has no joint bounds: its own stand for them."""
    if key == "auc":
        low, high = _bounds(attack.auc_joint_low, attack.auc_joint_high, attack.auc_low, attack.auc_high)
        return _Figure(attack.name, key, attack.auc, low, high, _chance(null, key))
    if key == "advantage":
        cut = attack.own_cut
        assert cut is not None, "an audit gives every attack its own cut"
        counts = f"{cut.true_positives} members and {cut.false_positives} non-members above its own cut"
        return _Figure(attack.name, key, cut.advantage, cut.joint_low, cut.joint_high, grounds=counts)
    if key == "epsilon":
        return _epsilon(attack)
    wanted = f"{float(key.removeprefix('tpr@')):g}"
    rate = next(rate for rate in attack.tpr if f"{rate.fpr:g}" == wanted)
    low, high = _bounds(rate.joint_low, rate.joint_high, rate.low, rate.high)
    counts = f"{rate.true_positives} members and {rate.false_positives} non-members above the cut"
    chance = max(rate.null_high, _chance(null, f"tpr@{wanted}"))
    limits = {"low": low, "high": high, "chance": chance, "fpr": rate.fpr}
    return _Figure(attack.name, key, rate.tpr, **limits, grounds=counts, resolvable=rate.resolvable)


def _epsilon(attack: AttackEvidence) -> _Figure:
    """A bound from below: it can show that ε is above a budget, never that it is not; a pass says how far it looked."""
    found = attack.epsilon
    assert found is not None, "an audit gives every attack a bound on ε"
    counts = f"these samples can show at most {found.most:.3g}"
    shown = found.joint_low
    return _Figure(attack.name, "epsilon", shown, shown, shown, most=found.most, grounds=counts)


def _bounds(joint_low: float | None, joint_high: float | None, low: float, high: float) -> tuple[float, float]:
    return (low, high) if joint_low is None or joint_high is None else (joint_low, joint_high)


def _chance(null: NullBand | None, name: str) -> float:
    """The 95th percentile of the best of the attacks where nothing leaks."""
    return next((figure.high for figure in null.figures if figure.figure == name), 0.0) if null else 0.0


def _find(figure: _Figure, limit: float) -> _Finding:
    bounds = "" if figure.key == "epsilon" else f" [{figure.low:.4g}, {figure.high:.4g}]"
    said = "at least " if figure.key == "epsilon" else ""
    grounds = f", {figure.grounds}" if figure.grounds else ""
    shown = f"{figure.attack}: {figure.key} {said}{figure.value:.4g}{bounds}{grounds}, budget {limit:g}"
    if figure.low > limit and figure.value > figure.chance:
        return _Finding("fail", figure.low - limit, figure, f"budget exceeded by {shown}")
    if not figure.resolvable:
        return _Finding("inconclusive", figure.value - limit, figure, f"too few non-members to resolve {shown}")
    if figure.most <= limit:
        return _Finding("inconclusive", figure.value - limit, figure, f"too few samples to show more than {shown}")
    if figure.low > limit:
        reason = f"chance alone gives the best of these attacks {figure.chance:.4g}: {shown}"
        return _Finding("inconclusive", figure.value - limit, figure, reason)
    if figure.high > limit:
        return _Finding("inconclusive", figure.high - limit, figure, f"the interval holds the budget: {shown}")
    return _Finding("pass", figure.high - limit, figure, f"every interval lies within the budget; nearest is {shown}")


def _needed(figure: _Figure, limit: float, samples: SampleCounts) -> SampleCounts | None:
    """How many samples would decide if the figure stayed as it is: an interval narrows with the root of their number.

    A rate needs its expected false positives besides. None where `MOST_TIMES` as many would not do.
    """
    distance = abs(figure.value - limit)
    width = figure.high - figure.value if figure.value <= limit else figure.value - figure.low
    if figure.key == "epsilon" or figure.low > limit or width**2 > MOST_TIMES * distance**2:
        return None
    times = max(1.0, (width / distance) ** 2) if distance else 1.0
    fewest = EXPECTED_FALSE_POSITIVES / figure.fpr if figure.fpr else 0.0
    members, nonmembers = samples.members * times, max(samples.nonmembers * times, fewest)
    return SampleCounts(members=_rounded_up(members), nonmembers=_rounded_up(nonmembers))


def _rounded_up(count: float) -> int:
    """To two figures, for what is an estimate."""
    step = int(10 ** max(0, len(str(int(count))) - 2))
    return int(ceil(count / step) * step)
