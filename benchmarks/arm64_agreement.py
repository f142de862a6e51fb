"""Exported files on emulated 64-bit Arm beside this machine: largest logit difference, classes, bits. Never a latency.

Trains each model on digits (once: runs are kept), exports it for android, and lets both machines answer the same
validation inputs. Needs 'safedeploy device prepare arm64 --executorch'; without ExecuTorch in the tree, .pte files are
left out.
"""

from pathlib import Path
from typing import Any

from benchmarks.common import parser, report
from safedeploy import compress, export, make_recipe
from safedeploy.agreement import SAMPLES, agree
from safedeploy.bench.devices.qemu import QemuArm64
from safedeploy.bench.devices.tree import cpu
from safedeploy.bench.devices.tree.build import open_tree
from safedeploy.results import Agreement, Manifest
from safedeploy.rundir import RunDir

TARGET = "android"


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--models", nargs="+", default=["lenet5", "mlp"])
    options.add_argument("--cores", nargs="+", default=[cpu.DEFAULT], choices=cpu.CPUS, help="the emulated cores")
    options.add_argument("--samples", type=int, default=SAMPLES)
    options.add_argument("--epochs", type=int, default=20)
    options.add_argument("--runs", type=Path, default=Path("runs"), help="the folder that keeps the trained models")
    given = options.parse_args()
    runtimes = ["onnxruntime", "executorch"] if open_tree().has("executorch") else ["onnxruntime"]
    rows = []
    for model in given.models:
        folder = shipped(model, given.epochs, given.runs).bundle(TARGET)
        listed = Manifest.read(folder / "manifest.json").files
        files = [folder / file.name for file in listed if file.runtime in runtimes]
        for core in given.cores:
            rows += [row(model, core, one) for one in agree(files, QemuArm64(core), samples=given.samples)]
    report(rows, given.json)


def shipped(model: str, epochs: int, runs: Path) -> RunDir:
    """A run on digits at a tenth of its weights, with its bundle; an earlier one is taken as it is."""
    run = RunDir(runs / f"arm64-{model}")
    if not run.summary.exists():
        recipe = make_recipe(
            data="digits", model=model, method="magnitude", density=0.1, epochs=epochs, name=run.root.name
        )
        compress(recipe, runs)
    if not (run.bundle(TARGET) / "manifest.json").exists():
        export(run.root, TARGET)
    return run


def row(model: str, core: str, found: Agreement) -> dict[str, Any]:
    same = found.runtime == found.runtime_here
    return {
        "model": model,
        "file": Path(found.artifact.path).name,
        "core": core,
        "samples": found.samples,
        "max_logit_difference": found.max_logit_difference,
        "largest_logit": found.largest_logit,
        "top1_agreement": found.top1_agreement,
        "identical": found.identical,
        "within_tolerance": found.within,
        "runtime": found.runtime if same else f"{found.runtime} / {found.runtime_here}",
    }


if __name__ == "__main__":
    main()
