"""The plan stage: what a sparsity will buy on a target, asked before anybody trains."""

from safedeploy.compression import Progress, need_torch, silent
from safedeploy.results import Plan


def plan(
    model: str,
    target: str = "android",
    *,
    density: float = 0.1,
    structure: str = "irregular",
    input_shape: str = "3x32x32",
    classes: int = 10,
    values: str | None = None,
    verify: bool = False,
    progress: Progress = silent,
) -> Plan:
    """What keeping `density` of the weights buys per runtime and layer, in disk, download, memory and time.

    structure: "irregular" (zeros anywhere) or "channel". values: "float32" or "int8" for files of that precision alone.
    verify: build the model with random weights both ways, measure it on this machine, and give the checks too; needs
    the extras of the target's files. Raises UserError that names the option at fault.
    """
    need_torch("a plan")
    from safedeploy.plan.make import make_plan
    from safedeploy.plan.question import ask
    from safedeploy.plan.verify import verified_plan

    question = ask(
        model, target, structure=structure, density=density, input_shape=input_shape, classes=classes, values=values
    )
    return verified_plan(question, progress(f"measure {model}")) if verify else make_plan(question)
