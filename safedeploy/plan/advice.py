"""What the plan concludes: what this sparsity does not buy, what to choose instead, and what to know beside."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

from safedeploy.errors import UserError
from safedeploy.export.targets import precision_of
from safedeploy.plan.files import RESOURCES
from safedeploy.plan.litert import closed_because
from safedeploy.plan.network import Network, network_of
from safedeploy.plan.question import Question
from safedeploy.results import PlanAdvice, PlanLimit, PlannedFile, PlannedLayer, PlanRule
from safedeploy.results.plan import RuntimeOfPlan

if TYPE_CHECKING:
    from torch import nn

INT8 = (
    "int8 kernels, where the CPU has a dot product (Armv8.2, x86 with VNNI); elsewhere they may be slower"
    " (onnxruntime.ai, 'Quantize ONNX models')"
)
ENOUGH_WORK = 1_000_000  # multiplications a layer from which int8 is faster: LeNet-5's 80 thousand are too few
TOO_LITTLE = (
    "int8 is no sure way here: with so little work a layer, quantising between the layers can cost more than it saves"
)
PUBLISHED = "published on phones: 1.3 to 2.4 × at 80 to 90 % zeros (Elsen et al. 2019, Fast Sparse ConvNets)"
TRIED = (0.25, 0.5)  # densities for channels where the one asked for is too low


def limits(layers: Sequence[PlannedLayer], files: Sequence[PlannedFile], rules: Sequence[PlanRule]) -> list[PlanLimit]:
    """A limit a runtime, resource and reason; time first, the largest share first."""
    by_name = {rule.name: rule for rule in rules}
    found: dict[str, PlanLimit] = {}
    for rule in rules:
        of_rule = [layer for layer in layers if rule.name in layer.time.values()]
        if of_rule and not rule.buys:
            share = sum(layer.mac_share for layer in of_rule)
            found[rule.name] = _limit(rule, sorted({layer.kind for layer in of_rule}), share)
    for file in files:
        for resource, name in file.rules.items():
            told = resource == "time" and by_name[name].precision == "any"  # layer by layer
            if not (by_name[name].buys or told):
                found.setdefault(name, _limit(by_name[name], [], 1.0))
    order = get_args(RuntimeOfPlan)
    return sorted(found.values(), key=lambda one: (RESOURCES.index(one.resource), order.index(one.runtime), -one.share))


def _limit(rule: PlanRule, kinds: list[str], share: float) -> PlanLimit:
    return PlanLimit(
        runtime=rule.runtime, resource=rule.resource, layers=kinds, why=rule.why, share=min(share, 1.0), rule=rule.name
    )


def advice(question: Question, network: Network, module: "nn.Module") -> list[PlanAdvice]:
    """Command lines that can be typed; `module` is the dense one."""
    given = [_channels(question, module)] if question.structure == "irregular" else []
    if any(precision_of(file) == "int8" for file in question.files):
        why = INT8 if sum(layer.macs for layer in network.layers) >= ENOUGH_WORK * len(network.layers) else TOO_LITTLE
        given.append(PlanAdvice(wanted="speed at any density", command=f"{question.command} --verify", why=why))
    if question.structure == "irregular":
        given.append(_litert(network))
    else:
        given.append(
            PlanAdvice(
                wanted="the smallest .onnx",
                command=f"{question.command} --density {question.density:g}",
                why="zeros anywhere usually keep more accuracy at the same number of weights, and are stored compactly",
            )
        )
    return given


def _channels(question: Question, module: "nn.Module") -> PlanAdvice:
    """Whole channels at the same density, or at the lowest of TRIED that the model can have."""
    wanted, refused = "speed in both runtimes", ""
    for density in (question.density, *(one for one in TRIED if one > question.density)):
        try:
            network = network_of(module, replace(question, structure="channel", density=density))
        except UserError as error:
            refused = refused or str(error)
            continue
        work = sum(layer.macs for layer in network.planned) / max(1, sum(layer.macs for layer in network.layers))
        command = f"{question.command} --density {density:g} --structure channel"
        return PlanAdvice(
            wanted=wanted, command=command, why=f"whole channels, really removed, leave {work:.0%} of the work"
        )
    return PlanAdvice(wanted=wanted, command="", why=f"whole channels cannot be removed: {refused}")


def _litert(network: Network) -> PlanAdvice:
    closed = closed_because(network.layers, network.kept)
    why = (
        f"LiteRT alone has it, in a .tflite, which safedeploy does not ship; not for this network: {closed}"
        if closed
        else f"LiteRT on Arm, in a .tflite with sparse weights, which safedeploy does not ship; {PUBLISHED}"
    )
    return PlanAdvice(wanted="speed from zeros anywhere", command="", why=why)


def notes(question: Question, network: Network, files: Sequence[PlannedFile]) -> list[str]:
    said = ["What the sparsity costs in accuracy is not planned: only training tells."]
    if question.structure == "channel":
        said.append("Which channels go, training decides; here they are those of the smallest random weights.")
    encoding, budget = question.target.encoding, question.target.budget
    if not encoding.sparse:
        said.append("The target has its ONNX files stored dense.")
    elif encoding.values != "float32":
        said.append(
            f"The target rounds the weights of model.onnx to {encoding.values}: it is smaller than planned here."
        )
    for file in files:
        for what, size, most in (
            ("disk", file.disk.planned, budget.disk_bytes),
            ("download", file.download.planned, budget.download_bytes),
        ):
            if most is not None and size > most:
                said.append(f"{file.name} is over the target's {what} budget: {size:,} bytes of {most:,}.")
    idle = [layer.name for layer in network.layers if not layer.output]
    if idle:
        said.append(f"{len(idle)} layers were not called on one input, {idle[0]} first: they count no work.")
    return said
