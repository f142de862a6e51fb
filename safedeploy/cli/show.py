"""What commands print: tables for people, JSON for programs, both on standard output."""

import json as jsonlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safedeploy.results import Agreement, Inspection, Manifest, Summary, Timing, Verdict, Verification, WeightEncoding
from safedeploy.rundir import RunDir, write_text

if TYPE_CHECKING:
    from safedeploy.auditing import Audits


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table()
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))  # Text: brackets in a cell are no markup
    console = Console()
    console = console if console.is_terminal else Console(width=160)
    console.print(Text(title))
    console.print(drawn)


def print_json(content: Any) -> None:
    print(jsonlib.dumps(content, indent=2))


def show_summary(run: RunDir, *, json: bool) -> None:
    from safedeploy.report.words import guarantee

    summary = Summary.read(run.summary)
    if json:
        print(summary.model_dump_json(indent=2))
        return
    shares = [f"{name} {value:.1%}" for name, value in summary.accuracy.items()]
    rows = [
        [layer.name, "×".join(map(str, layer.shape)), f"{layer.kept:,}", f"{layer.density:.1%}"]
        for layer in summary.layers
    ]
    rows.append(["all", "", f"{sum(layer.kept for layer in summary.layers):,}", f"{summary.density:.2%}"])
    method = " + ".join([summary.method, *summary.defences])
    table(f"{run.root}: {method}, accuracy {', '.join(shares)}", ["layer", "shape", "kept", "density"], rows)
    if summary.guarantee is not None:
        print(f"differential privacy of one member: {guarantee(summary.guarantee)}")


def show_manifest(manifest: Manifest, *, json: bool) -> None:
    if json:
        print(manifest.model_dump_json(indent=2))
        return
    rows = []
    for file in manifest.files:
        taken = ""
        if file.delegation is not None:
            left = ", ".join(f"{name} ×{count}" for name, count in file.delegation.left.items()) or "none"
            taken = f"{file.delegation.delegated} by {file.delegation.delegate}; left: {left}"
        check = file.check
        rows.append(
            [
                file.name,
                f"{file.size_bytes:,}",
                f"{file.zip_bytes:,}",
                f"{check.max_logit_difference:.2g}",
                f"{check.top1_agreement:.2%}",
                f"{100 * (check.torch_accuracy - check.accuracy):+.2f} points",
                taken,
            ]
        )
    columns = [
        "file",
        "disk bytes",
        "zip bytes",
        "max logit difference",
        "top-1 agreement",
        "accuracy lost",
        "delegated",
    ]
    title = f"Bundle for {manifest.target}: each file in its runtime against torch, {check.samples:,} validation inputs"
    table(title, columns, rows)


def show_verification(found: Verification, *, json: bool) -> None:
    if json:
        print(found.model_dump_json(indent=2))
        return
    words = {True: "ok", False: "FAILED", None: "not made"}
    rows = [["(bundle)", one.check, words[one.passed], one.detail] for one in found.outcomes]
    rows += [[file.name, one.check, words[one.passed], one.detail] for file in found.files for one in file.outcomes]
    table(f"Bundle {found.bundle}, {found.model}, on {found.inputs}", ["file", "check", "", "found"], rows)
    for line in found.not_checked:
        print(f"not checked: {line}")


def said_of_encoding(found: WeightEncoding) -> str:
    """In words: what coding spares, or why it spares nothing and what to do."""
    match found.state:
        case "coded":
            return f"{found.coded} coded, decoded once while loading; {found.spared_bytes:,} bytes spared"
        case "decoded at every inference":
            return (
                f"{found.coded} coded, but decoded at every inference: a later tool has changed what the codes read; "
                "export again, with the encoding as the last step"
            )
        case "plain":
            return (
                f"stored with their zeros; coding them would spare up to {found.spared_bytes:,} bytes: a later tool "
                "has undone the encoding, or there was none; export again, with the encoding as the last step"
            )
    return "dense; there are no zeros to leave out"


def show_inspection(found: Inspection, *, json: bool) -> None:
    if json:
        print(found.model_dump_json(indent=2))
        return
    info = found.artifact
    print(f"{info.path}: {info.format}, sha256 {info.sha256}")
    print(f"disk size {info.size_bytes:,} bytes, download size (zip, level 9) {info.zip_bytes:,} bytes")
    takes = "token numbers" if found.tokens else "float32"
    print(f"input (n, {', '.join(map(str, found.input_shape))}) {takes}, {found.classes} classes")
    print(f"white box: {found.white_box or 'open'}")
    if found.operators:
        print(f"operators: {', '.join(f'{name} ×{count}' for name, count in found.operators.items())}")
    if found.tensors is not None:
        rows = [
            [
                one.name,
                one.dtype,
                "×".join(map(str, one.shape)),
                f"{one.density:.1%}",
                one.codec or "-",
                f"{one.size_bytes:,}",
                "-" if one.bound_bytes is None else f"{one.bound_bytes:,}",
            ]
            for one in found.tensors
        ]
        table("stored tensors", ["tensor", "type", "shape", "density", "codec", "bytes", "bound"], rows)
    if found.encoding is not None:
        print(f"weights: {said_of_encoding(found.encoding)}")


def show_audits(found: "Audits", places: Mapping[Path | None, str], *, thumbnails: bool) -> None:
    """Print one audit or several (place None) or write them, each in its form of `report/formats.py`.

    thumbnails: whether a page may show the training images that the file exposes most.
    """
    from safedeploy.report.formats import render

    for place, form in places.items():
        pictures = _pictures(found) if thumbnails and form == "html" else None
        text = render(form, found.evidence, found.comparisons, pictures).rstrip("\n")
        if place is None:
            print(text)
        else:
            write_text(place, text + "\n")


def _pictures(found: "Audits") -> dict[int, bytes]:
    """PNGs of the most exposed members by their index, where they are images."""
    from safedeploy.report.thumbnails import exposed_indices, png

    images = {index: found.members[index] for index in exposed_indices(found.evidence) if index in found.members}
    return {index: png(x) for index, x in images.items() if x.ndim == 3 and x.shape[0] in (1, 3)}


def show_timings(timings: Sequence[Timing], *, json: bool) -> None:
    from safedeploy.report.markdown import timings_markdown

    if json:
        print_json([timing.model_dump(mode="json") for timing in timings])
    else:
        print(timings_markdown(timings))


def show_agreements(found: Sequence[Agreement], *, json: bool) -> None:
    if json:
        print_json([one.model_dump(mode="json", by_alias=True) for one in found])
        return
    rows = [
        [
            Path(one.artifact.path).name,
            f"{one.samples:,} {one.inputs}",
            f"{one.max_logit_difference:.2g} of {one.largest_logit:.3g}",
            f"{one.top1_agreement:.2%}",
            "yes" if one.identical else "no",
            f"{'yes' if one.within else 'NO'}: {one.allowed} ({one.target})",
            one.runtime if one.runtime == one.runtime_here else f"{one.runtime}, here {one.runtime_here}",
        ]
        for one in found
    ]
    columns = ["file", "inputs", "max logit difference", "top-1 agreement", "identical", "tolerance held", "runtime"]
    table(f"{found[0].device} beside this machine (emulated: agreement only, no latency)", columns, rows)


def show_run(run: RunDir, *, json: bool) -> list[Verdict]:
    """The at-a-glance table of a whole run; returns the verdicts of the files that ship."""
    from safedeploy.report.contents import read_run
    from safedeploy.report.table import glance

    contents = read_run(run)
    shipped = contents.models[0]
    verdicts = {name: evidence.verdict for name, evidence in shipped.evidence.items()}
    if json:
        print_json(
            {
                "run": str(run.root),
                "report": str(run.report),
                "models": [
                    {
                        "label": model.label,
                        "summary": model.summary and model.summary.model_dump(mode="json"),
                        "evidence": {
                            name: evidence.model_dump(mode="json") for name, evidence in model.evidence.items()
                        },
                        "timing": {name: timing.model_dump(mode="json") for name, timing in model.timing.items()},
                    }
                    for model in contents.models
                ],
            }
        )
        return list(verdicts.values())
    rows = [[row.group, row.name, *(str(cell) for cell in row.cells)] for row in glance(contents)]
    table(str(run.root), ["file", "figure", *(model.label for model in contents.models)], rows)
    for name, verdict in verdicts.items():
        if verdict.budget:
            print(f"{name}: {verdict.outcome}: {verdict.reason}")
    if not any(verdict.budget for verdict in verdicts.values()):
        print("no privacy budget was given, so nothing is passed or failed; set one with --budget auc=0.60")
    print(f"report: {run.report}")
    return list(verdicts.values())
