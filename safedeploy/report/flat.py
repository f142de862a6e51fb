"""An attack's figures as flat names and numbers, for formats that hold nothing deeper."""

from safedeploy.results import AttackEvidence


def figures(attack: AttackEvidence) -> dict[str, float | int]:
    """auc, auc_low, tpr@0.01 ... as a budget names them; what was not measured is left out.

    Intervals are those a verdict reads, where there are any. A rate that the samples cannot carry has no figure.
    """
    found: dict[str, float | int | None] = {
        "references": attack.references,
        "auc": attack.auc,
        "auc_low": attack.auc_low if attack.auc_joint_low is None else attack.auc_joint_low,
        "auc_high": attack.auc_high if attack.auc_joint_high is None else attack.auc_joint_high,
        "auc_p": attack.auc_p,
    }
    for point in attack.tpr:
        key = f"tpr@{point.fpr:g}"
        joint = point.joint_low is not None and point.joint_high is not None
        found |= {
            key: point.tpr if point.resolvable else None,
            f"{key}_low": (point.joint_low if joint else point.low) if point.resolvable else None,
            f"{key}_high": (point.joint_high if joint else point.high) if point.resolvable else None,
            f"{key}_true_positives": point.true_positives,
            f"{key}_false_positives": point.false_positives,
        }
    if attack.own_cut is not None:
        found |= {
            "advantage": attack.own_cut.advantage,
            "advantage_low": attack.own_cut.joint_low,
            "advantage_high": attack.own_cut.joint_high,
        }
    if attack.epsilon is not None:
        found["epsilon"] = attack.epsilon.joint_low
    return {name: value for name, value in found.items() if value is not None}
