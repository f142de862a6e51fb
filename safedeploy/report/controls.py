"""The controls of an audit in words: what each figure means for someone who has to decide."""

from dataclasses import dataclass

from safedeploy.report import words
from safedeploy.report.contents import strongest
from safedeploy.results import AttackEvidence, CanaryEvidence, DenseControl, Evidence


@dataclass(frozen=True)
class Explained:
    """One control: its question, its figure (empty where it could not be had) and what follows.

    `warning`: it weakens the audit, or is missing.
    """

    name: str
    question: str
    figure: str
    text: str
    warning: bool = False


def explain(evidence: Evidence, dense: Evidence | DenseControl | None) -> tuple[Explained, ...]:
    """The controls that stand beside every verdict; `dense` is the dense control's audit of the same file."""
    worst = strongest(evidence.attacks)
    return (
        _correctness(evidence, worst),
        _blind(evidence),
        _dense(evidence, worst, dense),
        _same(evidence),
        _references(evidence),
        *([_canaries(evidence.canaries)] if evidence.canaries else []),
    )


def _canaries(found: CanaryEvidence) -> Explained:
    """Canaries bound training itself, whoever the members are."""
    text = (
        f"Fair coins put {found.included:,} of {found.canaries:,} {found.kind} examples into training. Scored by their "
        f"loss, those that were in are told from those that were not with AUC {found.auc:.3f} "
        f"{words.interval(found.auc_low, found.auc_high)}. "
    )
    bound = found.epsilon
    if bound.low > 0:
        text += (
            f"With {bound.correct:,} of {bound.guesses:,} calls right, this training is not ({bound.low:.2f}, "
            f"{bound.delta:g})-differentially private, at {words.percent(bound.confidence, 0)} confidence."
        )
    else:
        text += f"No lower bound on ε is shown; these canaries could have shown at most {bound.most:.2f}."
    return Explained("Canaries", "What does this training give away of any example?", f"ε ≥ {bound.low:.2f}", text)


def _correctness(evidence: Evidence, worst: AttackEvidence | None) -> Explained:
    control, task = evidence.controls.correctness, evidence.task
    text = (
        "Someone who calls an example a member whenever the model answers it correctly is right this often; a coin "
        f"toss is right {words.percent(0.5, 0)} of the time. It follows from the model answering "
        f"{words.percent(task.member_accuracy)} of {words.plural(evidence.samples.members, 'example')} it was trained "
        f"on correctly, and {words.percent(task.nonmember_accuracy)} of {evidence.samples.nonmembers:,} others."
    )
    if worst is not None:
        beyond = worst.balanced_accuracy_low > control.high
        text += f" The strongest attack is right {words.balanced_accuracy(worst)} of the time: " + (
            "clearly more, so the file gives away more than this gap."
            if beyond
            else "not clearly more, so nothing beyond this gap has been shown."
        )
    figure = f"{words.percent(control.attack_accuracy)} {words.percent_interval(control.low, control.high)} right"
    return Explained("Correctness", "How much does being right or wrong already give away?", figure, text)


def _blind(evidence: Evidence) -> Explained:
    name, question = "Blind", "Could members be told apart without the model?"
    control = evidence.controls.blind
    if control is None:
        reason = evidence.controls.missing.get("blind", "the audit did not run it").rstrip(".")
        text = f"Not measured: {reason}. Without it, a difference between the two sets may pass for leakage."
        return Explained(name, question, "", text, warning=True)
    figure = f"AUC {control.auc:.3f} {words.interval(control.auc_low, control.auc_high)}"
    if control.shifted:
        text = (
            "A classifier that sees the examples and never the model tells members from non-members. The two sets "
            "differ by themselves, so the attacks' figures mix that difference with what the model gives away: draw "
            "the sets from one source and audit again."
        )
        return Explained(name, question, figure, text, warning=True)
    text = (
        "A classifier that sees the examples and never the model is not shown to do better than a coin toss (0.5). "
        "The two sets look alike, so what the attacks find, they find in the model."
    )
    return Explained(name, question, figure, text)


def _dense(evidence: Evidence, worst: AttackEvidence | None, dense: Evidence | DenseControl | None) -> Explained:
    name, question = "Dense", "Does compression protect, or was the model safe anyway?"
    other = strongest(dense.attacks) if dense is not None else None
    if dense is None or other is None:
        reason = evidence.controls.missing.get("dense", "the audit had no dense model to compare with").rstrip(".")
        text = f"Not measured: {reason}. Without it, nothing can be said about what compression changed."
        return Explained(name, question, "", text, warning=True)
    text = "The same network, not compressed, trained equally long on the same examples and attacked the same way."
    if worst is not None:
        if worst.auc_high < other.auc_low:
            text += f" The compressed file leaks less: AUC {words.auc(worst)}."
        elif worst.auc_low > other.auc_high:
            text += f" The compressed file leaks more: AUC {words.auc(worst)}."
        else:
            text += (
                f" The compressed file's AUC is {words.auc(worst)}; the intervals overlap, so this audit does not show "
                "that compression changed what leaks."
            )
    if evidence.task.test_accuracy is not None and dense.task.test_accuracy is not None:
        text += (
            " Judge leakage and accuracy together, since a model that has learned less also gives away less: the "
            f"compressed file answers {words.percent(evidence.task.test_accuracy)} of the test examples correctly, "
            f"the dense one {words.percent(dense.task.test_accuracy)}."
        )
    return Explained(name, question, f"AUC {words.auc(other)}", text)


def _same(evidence: Evidence) -> Explained:
    name, question = "A/A", "Does this audit raise a false alarm where nothing can leak?"
    control = evidence.controls.same
    if control is None:
        reason = evidence.controls.missing.get("same", "the audit did not run it").rstrip(".")
        text = f"Not measured: {reason}. Without it, nothing shows that the intervals are wide enough."
        return Explained(name, question, "", text, warning=True)
    figure = f"{control.alarms:,} of {control.splits:,} false alarms"
    text = (
        f"The non-members were split in halves at random {control.splits:,} times and one half called members. An "
        f"attack seemed to tell the halves apart in {words.percent(control.rate)} of the splits, where "
        f"{words.percent(control.nominal, 0)} are due (99{words.NBSP}% interval of the share "
        f"{words.percent_interval(control.low, control.high)}). "
    )
    if control.calibrated:
        return Explained(name, question, figure, text + "The intervals can be believed on these scores.")
    text += "Not calibrated: on these very scores the intervals are too narrow to believe."
    return Explained(name, question, figure, text, warning=True)


def _references(evidence: Evidence) -> Explained:
    name, question = "References", "Would an attacker with more reference models find more?"
    effects = evidence.controls.references
    if not effects:
        used = max((attack.references for attack in evidence.attacks), default=0)
        had = f"the attacks had {words.plural(used, 'reference model')}" if used else "no attack had reference models"
        reason = evidence.controls.missing.get("references", had).rstrip(".")
        text = (
            f"Not measured: {reason}. Attacks with reference models are the strongest known, above all at low "
            "false-positive rates; 'safedeploy references' trains them, 16 to 64 for a release."
        )
        return Explained(name, question, "", text, warning=True)
    leading = max(effects, key=lambda effect: (effect.references, effect.auc)).attack
    ordered = sorted((one for one in effects if one.attack == leading), key=lambda effect: effect.references)
    few, many = ordered[0], ordered[-1]
    figure = f"AUC {few.auc:.3f} with {few.references:,}, {many.auc:.3f} with {many.references:,}"
    text = f"{leading}, everything else alike, with {few.references:,} to {many.references:,} reference models. "
    if many.auc_low > few.auc_high:
        text += "The attack clearly gains by more of them, so still more may find more than this audit did."
    else:
        text += "The intervals overlap, so this audit does not show that more of them find more."
    return Explained(name, question, figure, text, warning=many.auc_low > few.auc_high)
