"""A plan tested: the model built with random weights both ways, exported, and measured on this machine."""

import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path

from safedeploy.bench.devices.local import Local
from safedeploy.bench.protocol import Rules, measure
from safedeploy.plan.build import export_files
from safedeploy.plan.claims import Pair, claims
from safedeploy.plan.make import plan_of
from safedeploy.plan.network import network_of, sparse_module
from safedeploy.plan.question import Question
from safedeploy.plan.random_model import random_model
from safedeploy.results import Plan

Progress = Callable[[float], None]

RULES = Rules(queries=20, seconds=1.0, block_seconds=0.1)
LOADS = 3  # fresh processes a file, each timed by RULES


def verified_plan(question: Question, progress: Progress = lambda fraction: None) -> Plan:
    """The plan with its checks. Nothing is kept of the files it makes.

    Raises UserError for what cannot be planned, exported or run here.
    """
    dense = random_model(question.model, question.input_shape, question.classes, seed=0)
    plan = plan_of(question, dense, network_of(dense, question))
    sparse = dense if question.density == 1 else sparse_module(dense, question)
    with tempfile.TemporaryDirectory(prefix="safedeploy-plan-") as temporary:
        before = export_files(dense, question, Path(temporary) / "dense", part(progress, 0, 0.25))
        after = export_files(sparse, question, Path(temporary) / "sparse", part(progress, 0.25, 0.5))
        paths = [path for name in question.files for path in (before[name], after[name])]
        ends = [0.5 + 0.5 * number / LOADS for number in range(LOADS + 1)]
        runs = [
            measure(paths, RULES, threads=1, device=Local(), progress=part(progress, start, end))
            for start, end in itertools.pairwise(ends)
        ]
        pairs = [
            Pair(file, before[name], after[name], [one[2 * at] for one in runs], [one[2 * at + 1] for one in runs])
            for at, (name, file) in enumerate(zip(question.files, plan.files, strict=True))
        ]
        checks = claims(plan, pairs, cpu_flags())
    return plan.model_copy(update={"checks": checks, "machine": runs[0][0].loaded["machine"]})


def part(progress: Progress, start: float, end: float) -> Progress:
    """The progress of a part that takes from `start` to `end` of the whole."""
    return lambda fraction: progress(start + (end - start) * fraction)


def cpu_flags() -> set[str]:
    """What /proc/cpuinfo says this CPU can do; empty where there is no such file."""
    try:
        content = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    lines = (line.partition(":") for line in content.splitlines())
    return {flag for key, _, value in lines if key.strip() in ("flags", "Features") for flag in value.split()}
