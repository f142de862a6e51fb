"""How a report writes numbers, devices and verdicts: the same words in HTML, Markdown and the terminal."""

from decimal import Decimal

from safedeploy.report.contents import Contents, decisive
from safedeploy.results import AttackEvidence, Check, DpGuarantee, Evidence, Timing, TprAtFpr, Verdict

NBSP = "\u00a0"
FORMATS = {
    "model.onnx": "float32 ONNX",
    "model.int8.onnx": "int8 ONNX",
    "model.pte": "float32 ExecuTorch",
    "model.int8.pte": "int8 ExecuTorch",
}
OUTCOMES = {"pass": "Within budget", "fail": "Over budget", "inconclusive": "Inconclusive", "none": "No budget given"}


def three(value: float) -> str:
    """Three significant digits, never in exponent form: 0.0123, 1.23, 12.3, 1,234."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{Decimal(f'{value:.3g}'):f}"


def percent(share: float, digits: int = 1) -> str:
    return f"{share * 100:.{digits}f}{NBSP}%"


def interval(low: float, high: float) -> str:
    return f"[{low:.3f}, {high:.3f}]"


def percent_interval(low: float, high: float) -> str:
    return f"[{low * 100:.1f}, {high * 100:.1f}]"


def rate(fpr: float) -> str:
    """A false-positive rate as people say it: 1 %, 0.1 %."""
    return f"{fpr * 100:g}{NBSP}%"


def size(count: float) -> str:
    """Bytes in decimal units: 812 B, 45.2 kB, 1.30 MB."""
    for unit, divisor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= divisor:
            value = count / divisor
            digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
            return f"{value:.{digits}f}{NBSP}{unit}"
    return f"{count:.0f}{NBSP}B"


def guarantee(promised: DpGuarantee) -> str:
    """As Opacus' users read it: ε 3.99 at δ 0.0001."""
    return f"ε {three(promised.epsilon)} at δ {promised.delta:g}"


def milliseconds(value: float) -> str:
    return f"{three(value)}{NBSP}ms"


def seconds(value: float) -> str:
    minutes, rest = divmod(round(value), 60)
    return f"{minutes}{NBSP}min{NBSP}{rest}{NBSP}s" if minutes else f"{three(value)}{NBSP}s"


def rounded(value: float) -> str:
    """A figure given by a person, with no digits of its own making: 0.60, 0.625."""
    return f"{value:.2f}" if round(value, 2) == value else f"{value:g}"


def signed(value: float, digits: int = 3) -> str:
    return f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "\u2212")


def probability(p: float) -> str:
    """A p-value; a permutation of a thousand draws cannot tell smaller ones apart."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def format_name(file: str) -> str:
    return FORMATS.get(file, "")


def access(attack: AttackEvidence) -> str:
    references = f", {plural(attack.references, 'reference model')}" if attack.references else ""
    return f"{attack.access} box{references}"


def auc(attack: AttackEvidence) -> str:
    return f"{attack.auc:.3f} {interval(attack.auc_low, attack.auc_high)}"


def balanced_accuracy(attack: AttackEvidence) -> str:
    bounds = percent_interval(attack.balanced_accuracy_low, attack.balanced_accuracy_high)
    return f"{percent(attack.balanced_accuracy)} {bounds}"


def true_positive_rate(point: TprAtFpr) -> str:
    """The rate with its interval, or 'not resolvable' where the non-members are too few to carry it."""
    return f"{percent(point.tpr)} {percent_interval(point.low, point.high)}" if point.resolvable else "not resolvable"


def positives(point: TprAtFpr, members: int, nonmembers: int) -> str:
    counts = (
        f"{point.true_positives:,} of {members:,} members at {point.false_positives:,} of {nonmembers:,} non-members"
    )
    return f"{counts}, realised FPR {percent(point.realised_fpr, 2)}"


def chance(point: TprAtFpr) -> str:
    """Where the rate stands to what scores that know nothing reach in 95 of 100 audits."""
    place = "above" if point.tpr > point.null_high else "within"
    p = f" ({probability(point.p)})" if point.p is not None else ""
    return f"{place} chance, which reaches {percent(point.null_high)}{p}"


def budget(verdict: Verdict) -> str:
    """The budget in words; empty when there is none."""
    return "; ".join(f"{figure(key)} at most {_limit(key, limit)}" for key, limit in verdict.budget.items())


def figure(key: str) -> str:
    """A budget's or a comparison's figure by its usual name."""
    if key.startswith("tpr@"):
        return f"TPR at {rate(float(key.removeprefix('tpr@')))} FPR"
    return {"auc": "AUC", "advantage": "advantage (TPR \u2212 FPR)", "epsilon": "lower bound on \u03b5"}.get(key, key)


def _limit(key: str, limit: float) -> str:
    return percent(limit) if key.startswith("tpr@") else rounded(limit)


def outcome(verdict: Verdict) -> str:
    return OUTCOMES[verdict.outcome]


def verdict_sentence(evidence: Evidence, file: str) -> str:
    """The audit of `file` in one sentence."""
    worst = decisive(evidence)
    if worst is None:
        return f"No attack could be run on {file}, so nothing is known about what it gives away."
    reach = f"{worst.name} ({access(worst)}), reaches {_reached(worst, evidence.verdict)}"
    match evidence.verdict.outcome:
        case "pass":
            return f"{file} stays within its privacy budget: the attack that comes closest, {reach}."
        case "fail":
            return f"{file} exceeds its privacy budget: the worst attack, {reach}."
        case "inconclusive":
            undecided = f"This audit cannot decide whether {file} is within its privacy budget"
            return f"{undecided}: the attack in question, {reach}."
        case _:
            return f"No privacy budget was given for {file}; the strongest attack tried, {reach}."


def _reached(attack: AttackEvidence, verdict: Verdict) -> str:
    """The figures the budget names, without one the AUC, each with the interval that holds for all attacks at once."""
    return ", ".join(reached(attack, key) for key in verdict.budget or ("auc",))


def reached(attack: AttackEvidence, key: str) -> str:
    """One figure of an attack, named, with the interval a verdict reads."""
    if key == "auc":
        return f"AUC {joint_auc(attack)}"
    if key == "advantage" and attack.own_cut is not None:
        cut = attack.own_cut
        return f"advantage {cut.advantage:.3f} {interval(cut.joint_low, cut.joint_high)}"
    if key == "epsilon" and attack.epsilon is not None:
        return f"\u03b5 \u2265 {attack.epsilon.joint_low:.2f}"
    wanted = key.removeprefix("tpr@")
    for point in attack.tpr:
        if wanted != key and point.fpr == float(wanted):
            return f"TPR {joint_rate(point)} at {rate(point.fpr)} FPR"
    return f"no {figure(key)}"


def joint_auc(attack: AttackEvidence) -> str:
    return f"{attack.auc:.3f} {interval(*joint_bounds(attack))}"


def joint_bounds(attack: AttackEvidence) -> tuple[float, float]:
    """The interval of AUC that holds for all attacks of an audit together; the attack's own where there is none."""
    low, high = attack.auc_joint_low, attack.auc_joint_high
    return (attack.auc_low, attack.auc_high) if low is None or high is None else (low, high)


def joint_rate(point: TprAtFpr) -> str:
    if not point.resolvable or point.joint_low is None or point.joint_high is None:
        return true_positive_rate(point)
    return f"{percent(point.tpr)} {percent_interval(point.joint_low, point.joint_high)}"


def advice(evidence: Evidence) -> str:
    """What to do next, for someone who has to decide."""
    verdict, blind = evidence.verdict, evidence.controls.blind
    if decisive(evidence) is None:
        return "Give attacks that can run on this file."
    references = any(attack.references for attack in evidence.attacks)
    stronger = "" if references else " Before a release, audit again with reference models ('safedeploy references')."
    match verdict.outcome:
        case "fail":
            return (
                "Do not ship this file as it is: whoever holds it can tell who was in the training data better than "
                "the budget allows. Train for fewer epochs, on more examples or more regularised, and audit again."
            )
        case "inconclusive" if verdict.needed is not None:
            judged = f"{plural(verdict.needed.members, 'member')} and {plural(verdict.needed.nonmembers, 'non-member')}"
            return (
                f"Audit again with about {judged} to be judged; of samples given as two files half go to the attacker, "
                "so give twice as many."
            )
        case "inconclusive" if blind is not None and blind.shifted:
            return "Draw members and non-members from one source, and audit again; these two sets differ by themselves."
        case "inconclusive":
            return "Do not read this as a pass. Remove the cause named in the grounds, and audit again."
        case "pass":
            return f"As far as these attacks can tell, the file may ship.{stronger}"
        case _:
            return f"Set a limit, as in --budget auc=0.60, for a verdict.{stronger}"


def basis(evidence: Evidence) -> str:
    """What the verdict rests on."""
    limits, samples = budget(evidence.verdict), evidence.samples
    parts = [
        f"Budget: {limits}. Grounds: {evidence.verdict.reason.rstrip('.')}." if limits else "",
        f"Judged on {plural(samples.members, 'member')} and {plural(samples.nonmembers, 'non-member')} the attacker",
        "was not told about. AUC 0.5 is a coin toss and 1 is certainty; brackets are 95\u00a0% intervals",
        "that hold for all attacks together." if len(evidence.attacks) > 1 else "of the attack.",
    ]
    return " ".join(part for part in parts if part)


def headline(contents: Contents) -> str:
    """The report's verdict in one sentence."""
    file = contents.headline
    if file is None:
        return "There is no verdict yet, because no file has been audited."
    return verdict_sentence(contents.shipped.evidence[file], file)


def points(check: Check) -> str:
    """Accuracy lost by the export, in percentage points; negative where the file does better."""
    lost = round((check.torch_accuracy - check.accuracy) * 100, 2) + 0.0
    return f"{lost:.2f}".replace("-", "\u2212") + f"{NBSP}points"


def queries(timing: Timing) -> str:
    told = f"{timing.latency_ms.queries:,} queries in {seconds(timing.latency_ms.seconds)}"
    return told if timing.complete else f"incomplete: {told}"


def before_loading(timing: Timing) -> str:
    """The runner's memory before the file was in it; empty where its runtime does not tell."""
    return "" if timing.baseline_memory_bytes is None else f"{size(timing.baseline_memory_bytes)} before loading"


def ratio(timing: Timing) -> str:
    """Median latency over the baseline file's, with the spread of the blocks; empty where nothing was compared."""
    one = timing.ratio
    if one is None:
        return ""
    return f"{one.median:.2f} [{one.low:.2f}, {one.high:.2f}] of {_short(one.baseline)}, {plural(one.blocks, 'block')}"


def _short(path: str) -> str:
    """A bundle's file as RUN/FILE, any other by its name."""
    *folders, name = path.split("/")
    return f"{folders[-3]}/{name}" if len(folders) > 2 and folders[-2] == "bundle" else name


def is_emulated(timing: Timing) -> bool:
    return timing.device.startswith("qemu") or "emulator" in timing.machine


def place(timing: Timing) -> str:
    """Where a timing was measured, so that no reader takes this machine for a phone."""
    if is_emulated(timing):
        return f"{timing.device}, emulated{' on this machine' * timing.device.startswith('qemu')}"
    kind, _, address = timing.device.partition(":")
    places = {"local": "this machine", "ssh": f"host {address} over ssh", "adb": f"device {address} over adb"}
    return places.get(kind, timing.device)


def device(timing: Timing) -> str:
    """The place with its processor, where that is known."""
    name = processor(timing)
    return f"{place(timing)} ({name})" if name and not is_emulated(timing) else place(timing)


def conditions(timing: Timing) -> str:
    """The device around the timing: cores, screen, temperature, pauses; empty where it told nothing."""
    before, after = timing.before, timing.after
    parts = []
    if before is not None and timing.cores:
        parts.append(f"{'core' if len(timing.cores) == 1 else 'cores'} {', '.join(map(str, timing.cores))}")
    if before is not None and before.screen:
        parts.append(f"screen {before.screen}")
    if before is not None and before.temperature_c is not None:
        degrees = [f"{one.temperature_c:.1f}" for one in (before, after) if one and one.temperature_c is not None]
        parts.append(f"{' to '.join(degrees)}{NBSP}°C ({before.sensor})")
    if timing.cooldown_seconds:
        parts.append(f"{seconds(timing.cooldown_seconds)} of pauses to cool down")
    return "; ".join(parts)


def processor(timing: Timing) -> str:
    """A phone's or board's name before its core's, which Arm kernels give as a part number."""
    told = timing.machine
    name = " ".join(told[key] for key in ("manufacturer", "model", "soc") if key in told)
    return name or told.get("cpu") or told.get("processor") or ""


def latency(timing: Timing) -> str:
    """Median latency; none for an emulated run, which shows agreement and never speed."""
    return "not a speed: emulated" if is_emulated(timing) else milliseconds(timing.latency_ms.p50)
