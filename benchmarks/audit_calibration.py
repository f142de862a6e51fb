"""How often an audit finds leakage where there is none: members and non-members both of data the model never saw.

python -m benchmarks.audit_calibration --data digits --audits 400 --trained-audits 40
"""

import tempfile
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import parser, report
from safedeploy import pipeline
from safedeploy.artifacts.recognise import open_artifact
from safedeploy.artifacts.remember import remember
from safedeploy.attacks.base import Attack, Knowledge, Scores
from safedeploy.attacks.membership import ATTACKS
from safedeploy.attacks.membership.signals import scaled_logit
from safedeploy.attacks.references import References
from safedeploy.audit.attempt import attempt
from safedeploy.audit.exam import Exam
from safedeploy.audit.joint import joint_confidence
from safedeploy.audit.null import p_value, permute
from safedeploy.compose import make_recipe
from safedeploy.compression import load_examples
from safedeploy.data.samples import Samples, content_digests
from safedeploy.delong import placements
from safedeploy.roc import auc_interval, proportion_interval, tpr_at_fpr
from safedeploy.seeds import numpy_generator

NOMINAL = 0.05
FPR = 0.01
REFERENCES = 8


def synthetic_references(pool: Samples, phi: NDArray[np.float64]) -> References:
    """Made-up models as like the audited one as real references are: its φ with noise, higher where they 'trained'."""
    draw = numpy_generator(0, "calibration", "references")
    half = np.stack([draw.permutation(len(pool.y)) < len(pool.y) // 2 for _ in range(REFERENCES // 2)])
    member = np.stack([half, ~half], axis=1).reshape(REFERENCES, -1)
    answers = phi + draw.normal(0, 1, member.shape) + 1.5 * member
    return References(content_digests(pool.x), pool.y, answers[:, :, None], member)


def exam_of_nobody(pool: Samples, names: tuple[str, ...], seed: int) -> Exam:
    """The pool in four at random: known and judged 'members', known and judged 'non-members'."""
    order = numpy_generator(seed, "calibration").permutation(len(pool.y))
    size = len(order)
    cuts = [size // 6, size // 3, size // 3 + size // 3]
    known_in, known_out, judged_in, judged_out = (Samples(pool.x[p], pool.y[p]) for p in np.split(order, cuts))
    return Exam(Knowledge(known_in, known_out, seed), judged_in, judged_out, names)


def alarms_of(scores: dict[Attack, Scores], members: int, seed: int) -> set[tuple[str, str]]:
    """(attack, rule) of every rule that calls one a leak, on scores of which there is none."""
    sides = {attack.name: (each.values[:members], each.values[members:]) for attack, each in scores.items()}
    null = permute(np.stack([each.values for each in scores.values()]), members, [FPR], seed, draws=400)
    found = set()
    together = joint_confidence([placements(*side) for side in sides.values()], seed)
    for place, (name, side) in enumerate(sides.items()):
        for rule, confidence, who in (("auc", 1 - NOMINAL, name), ("auc, corrected", together, "any of them")):
            _, low, high = auc_interval(*side, confidence)
            if not low <= 0.5 <= high:
                found.add((who, rule))
                found |= {("any of them", "auc, uncorrected")} if rule == "auc" else set()
        if p_value(null.tpr[FPR][place], tpr_at_fpr(*side, FPR).tpr) <= NOMINAL:
            found.add((name, f"tpr@{FPR:g}"))
    best = null.band().figures[1].high
    if any(tpr_at_fpr(*side, FPR).tpr > best for side in sides.values()):
        found.add(("any of them", f"tpr@{FPR:g}, corrected"))
    return found


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--data", default="digits")
    options.add_argument("--epochs", type=int, default=20)
    options.add_argument("--audits", type=int, default=400)
    options.add_argument("--trained-audits", type=int, default=40, help="of attacks that train a network")
    given = options.parse_args()
    wanted = make_recipe(data=given.data, data_root=given.data_root, method="dense", epochs=given.epochs)
    with tempfile.TemporaryDirectory() as runs:
        run = pipeline.compress(wanted, runs)
        pipeline.export(run.root)
        examples = load_examples(run, given.data_root)
        artifact = remember(open_artifact(run.bundle(wanted.target) / "model.onnx"))
        pool = examples.samples("nonmember_known", "nonmember_eval", "test")
        phi = scaled_logit(artifact.logits(pool.x), pool.y)
        references = synthetic_references(pool, phi)
        quick, trained = (
            [attack for attack in ATTACKS if not attack.slow and bool(attack.extra) is kind] for kind in (False, True)
        )
        alarms: Counter[tuple[str, str]] = Counter()
        audits: Counter[str] = Counter()
        for attacks, number in ((quick, given.audits), (trained, given.trained_audits)):
            for seed in range(number if attacks else 0):
                exam = exam_of_nobody(pool, examples.dataset.class_names, seed)
                scores = attempt(artifact, exam, attacks, references).scores
                found = alarms_of(scores, len(exam.members.y), seed)
                audits.update([*(attack.name for attack in scores), *(["any of them"] if attacks is quick else [])])
                alarms.update(pair for pair in found if attacks is quick or pair[0] != "any of them")
    rules = dict.fromkeys(audits, ("auc", f"tpr@{FPR:g}"))
    rules["any of them"] = ("auc, uncorrected", "auc, corrected", f"tpr@{FPR:g}, corrected")
    rows = []
    for name, asked in rules.items():
        for rule in asked:
            low, high = proportion_interval(alarms[name, rule], audits[name])
            rows.append(
                {
                    "attack": name,
                    "rule": rule,
                    "audits": audits[name],
                    "alarms": alarms[name, rule],
                    "rate": alarms[name, rule] / audits[name],
                    "low": low,
                    "high": high,
                    "nominal": NOMINAL,
                }
            )
    report(rows, given.json)


if __name__ == "__main__":
    main()
