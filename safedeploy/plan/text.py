"""A plan for people: the answer first, then why, what to choose instead, and the layers; 100 columns."""

import textwrap
from collections.abc import Sequence

from safedeploy.results import Estimate, Plan, PlanCheck, PlannedFile, PlannedLayer
from safedeploy.results.plan import Resource

WIDTH = 100
RUNTIMES = {"onnxruntime": "ONNX Runtime", "executorch": "ExecuTorch", "litert": "LiteRT (not shipped)"}
BOUGHT: dict[Resource, str] = {
    "time": "faster",
    "memory": "less memory",
    "disk": "smaller file",
    "download": "smaller download",
}
NOT_BOUGHT: dict[Resource, str] = {
    "time": "no faster",
    "memory": "no less memory",
    "disk": "no smaller file",
    "download": "no smaller download",
}
GAIN = 0.98  # a smaller figure that is nearer than this to the old one is no gain


def plan_text(plan: Plan, *, layers: bool = False) -> str:
    """layers: a row a layer too, where else there is one a kind of layer."""
    parts = [_answer(plan), _why(plan), _why_not(plan), _instead(plan), _layers(plan) if layers else _kinds(plan)]
    if plan.checks is not None:
        parts.insert(1, checks_text(plan))
    return "\n\n".join(part for part in parts if part)


def _answer(plan: Plan) -> str:
    zeros = "zeros anywhere" if plan.structure == "irregular" else "whole channels removed"
    shape = "×".join(map(str, plan.input_shape))
    title = (
        f"{plan.model} at {shape}, {plan.classes} classes, for {plan.target}:"
        f" {100 * plan.density:.3g} % of its weights kept, {zeros}"
    )
    rows = [["file", "on disk", "to download", "in memory", "time"]]
    rows += [
        [file.name, _saved(file.disk), _saved(file.download), _saved(file.resident), _time(plan, file)]
        for file in plan.files
    ]
    size = f"{_count(plan.weights)} weights in {len(plan.layers)} layers, {_count(plan.macs)} multiplications an input"
    said = (
        "Each file beside the dense model's of that name. Estimates by rules, before any training (--json names them;"
        " --verify measures them here). Memory is the weights alone. A phone's time is never predicted."
    )
    return "\n".join(
        [
            *_wrapped(title),
            size,
            *_wrapped(_in_short(plan)),
            "",
            *_table(rows),
            "",
            *_wrapped(" ".join([said, *plan.notes])),
        ]
    )


def _in_short(plan: Plan) -> str:
    """Which files gain what: 'Less disk: model.onnx. Less download: all. Less memory: none. …'"""
    by_name = {rule.name: rule for rule in plan.rules}
    gains: dict[str, list[str]] = {"Less disk": [], "Less download": [], "Less memory": [], "Faster": []}
    for file in plan.files:
        better = (_gains(file.disk), _gains(file.download), _gains(file.resident), by_name[file.rules["time"]].buys)
        for names, gained in zip(gains.values(), better, strict=True):
            names += [file.name] * gained
    told = {
        what: "none" if not names else "all" if len(names) == len(plan.files) else ", ".join(names)
        for what, names in gains.items()
    }
    return " ".join(f"{what}: {names}." for what, names in told.items())


def _gains(estimate: Estimate) -> bool:
    return estimate.planned <= GAIN * estimate.dense


def _saved(estimate: Estimate) -> str:
    if not _gains(estimate):
        return f"{_bytes(estimate.dense)}, no less"
    before, after = _bytes(estimate.dense), _bytes(estimate.planned)
    if before.split()[1] == after.split()[1]:
        before = before.split()[0]
    return f"{before} → {after} {estimate.dense / estimate.planned:.1f}×"


def _time(plan: Plan, file: PlannedFile) -> str:
    rule = next(rule for rule in plan.rules if rule.name == file.rules["time"])
    return f"{file.multiplied:.0%} of work" if rule.buys else "no faster"


def _why(plan: Plan) -> str:
    """How it gets what it buys: a line a resource and reason, whichever runtimes share it."""
    shared: dict[tuple[Resource, str], list[str]] = {}
    used = {name for file in plan.files for name in file.rules.values()}
    for rule in plan.rules:
        if rule.buys and rule.name in used:
            shared.setdefault((rule.resource, rule.why), []).append(RUNTIMES[rule.runtime])
    lines = ["What it buys, and how"]
    for (resource, why), runtimes in shared.items():
        lines += _item(f"{BOUGHT[resource]} ({', '.join(runtimes)})", why)
    return "\n".join(lines) if shared else ""


def _why_not(plan: Plan) -> str:
    lines = ["What it does not buy, and why"]
    for limit in plan.limits:
        if limit.runtime == "litert":
            continue
        head = f"{RUNTIMES[limit.runtime]}, {NOT_BOUGHT[limit.resource]}"
        kinds = f"{', '.join(limit.layers)}: " if limit.layers and len(limit.layers) < _kind_count(plan) else ""
        share = f" ({_share(limit.share)} of the work)" if limit.resource == "time" and kinds else ""
        lines += _item(f"{head}{share}", f"{kinds}{limit.why}")
    return "\n".join(lines) if len(lines) > 1 else ""


def _instead(plan: Plan) -> str:
    lines = ["What to choose instead"]
    for one in plan.advice:
        lines += _item(f"for {one.wanted}", one.why)
        lines += [f"      {one.command}"] if one.command else []
    return "\n".join(lines) if plan.advice else ""


def _kinds(plan: Plan) -> str:
    kinds = dict.fromkeys(layer.kind for layer in plan.layers)
    rows = [["kind of layer", "layers", "weights", "work", "weights kept", "work left"]]
    for kind in kinds:
        of_kind = [layer for layer in plan.layers if layer.kind == kind]
        kept = sum(layer.kept for layer in of_kind) / sum(layer.weights for layer in of_kind)
        weights, work = (sum(getattr(layer, share) for layer in of_kind) for share in ("weight_share", "mac_share"))
        macs = sum(layer.macs for layer in of_kind)
        left = sum(layer.planned_macs for layer in of_kind) / macs if macs else 1.0
        rows.append([kind, str(len(of_kind)), f"{weights:.1%}", f"{work:.1%}", f"{kept:.1%}", f"{left:.1%}"])
    return "\n".join([*_table(rows), "", "--layers shows every layer."])


def _layers(plan: Plan) -> str:
    reasons = list(dict.fromkeys(name for layer in plan.layers for name in layer.time.values()))
    marks = {name: chr(ord("a") + number) for number, name in enumerate(reasons)}
    precision = plan.files[0].precision
    runtimes = list(plan.layers[0].time)
    rows = [["layer", "kind", "weights", "share", "work", "kept", f"{precision} bytes", "time"]]
    rows += [
        [
            layer.name.removesuffix(".weight"),
            layer.kind,
            _shape(plan, layer),
            f"{layer.weight_share:.1%}",
            f"{layer.mac_share:.1%}",
            f"{layer.kept / layer.weights:.1%}",
            f"{_bytes(layer.dense_bytes[precision])} → {_bytes(layer.encoded_bytes[precision])}",
            "".join(marks[layer.time[runtime]] for runtime in runtimes),
        ]
        for layer in plan.layers
    ]
    why = {rule.name: rule for rule in plan.rules}
    lines = [f"Time, a letter a runtime: {', '.join(RUNTIMES[runtime] for runtime in runtimes)}"]
    for name, mark in marks.items():
        rule = why[name]
        lines += _item(f"{mark} {'faster' if rule.buys else 'no faster'}", f"{rule.why} [{rule.source}]")
    return "\n".join([*_table(rows), "", *lines])


def _shape(plan: Plan, layer: PlannedLayer) -> str:
    before, after = ("×".join(map(str, shape)) for shape in (layer.shape, layer.planned_shape))
    return before if plan.structure == "irregular" or before == after else f"{before} → {after}"


def checks_text(plan: Plan) -> str:
    """What was measured, beside what was said."""
    checks = plan.checks or []
    rows = [["file", "claim", "planned", "measured here", "holds"]]
    rows += [
        [check.file, check.claim, _range(check), _measured(check), "yes" if check.agrees else "NO"] for check in checks
    ]
    refuted = sum(not check.agrees for check in checks)
    machine = f" on {plan.machine['cpu']}" if plan.machine else ""
    verdict = f"{refuted} of {len(checks)} claims refuted" if refuted else f"all {len(checks)} claims hold"
    return "\n".join([f"Measured{machine}: {verdict}", *_table(rows)])


def _range(check: PlanCheck) -> str:
    low, high = (None if value is None else _figure(check, value) for value in (check.low, check.high))
    if high is None:
        return f"at least {low}"
    return f"at most {high}" if not check.low else f"{low} to {high}"


def _measured(check: PlanCheck) -> str:
    shown = _figure(check, check.measured)
    if check.measured_low == check.measured_high:
        return shown
    return f"{shown} [{_figure(check, check.measured_low)}, {_figure(check, check.measured_high)}]"


def _figure(check: PlanCheck, value: float) -> str:
    return _bytes(round(value)) if check.unit == "bytes" else f"{value:.2f}"


def _share(share: float) -> str:
    return "under 1%" if share < 0.005 else f"{share:.0%}"


def _kind_count(plan: Plan) -> int:
    return len({layer.kind for layer in plan.layers})


def _bytes(count: int) -> str:
    for unit, size in (("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}" if count < 1000 * size else f"{count / size:.0f} {unit}"
    return f"{count} B"


def _count(number: int) -> str:
    for unit, size in ((" G", 1e9), (" M", 1e6), (" k", 1e3)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return str(number)


def _item(head: str, text: str) -> list[str]:
    return textwrap.wrap(f"{head}: {text}", WIDTH, initial_indent="  ", subsequent_indent="      ")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns two spaces apart, the first row underlined."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    drawn = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [drawn[0], "  ".join("─" * width for width in widths), *drawn[1:]]
