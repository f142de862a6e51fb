"""Building a folder of reference models: train on a half, export as the audited file, ask about the whole pool."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from safedeploy.artifacts.recognise import open_artifact
from safedeploy.attacks.views import views
from safedeploy.audit import reference_store as store
from safedeploy.compression import Examples, fresh
from safedeploy.data.halves import POOL, Bools, half, half_split
from safedeploy.data.samples import content_digests
from safedeploy.data.split import MEMBERS, Indices, Role, Split
from safedeploy.errors import UserError
from safedeploy.recipe import Recipe
from safedeploy.results import ReferenceSet
from safedeploy.rundir import require_writable, sha256
from safedeploy.seeds import derive
from safedeploy.threads import SMALL

if TYPE_CHECKING:
    import torch
    from torch import nn

    from safedeploy.export.reweight import Exporter
    from safedeploy.export.targets import Target

CHUNK = 2048  # samples of the pool that are in memory in all their views
CALIBRATION = 512  # members of a reference that set its int8 ranges, where there is no validation role
TRAINING = 0.9  # of a reference's time
AT_ONCE = 2**27  # float32 weights and samples of the references that one call trains
PROOF = 32  # samples on which a rewritten file is held against its module

Tell = Callable[[float], None]


@dataclass(frozen=True, eq=False)
class Plan:
    """References of `recipe` to be made in `folder`, on halves of the pool of `examples`, exported as for `target`."""

    recipe: Recipe
    examples: Examples
    target: "Target"
    described: ReferenceSet
    folder: Path


def members_of(plan: Plan, number: int) -> Bools:
    """(pool size,) which samples of the pool reference `number` trains on."""
    labels = plan.examples.dataset.y[plan.examples.split.indices(*POOL)]
    return half(labels, number, derive(plan.recipe.seed, "references"))


def seed_of(plan: Plan, number: int) -> int:
    return derive(plan.recipe.seed, "reference", number)


def split_of(plan: Plan, number: int) -> Split:
    inside = members_of(plan, number)
    return half_split(plan.examples.split, plan.examples.dataset.y, inside, seed_of(plan, number))


def require_startable(plan: Plan) -> None:
    """Raises UserError where the folder cannot be written or holds references of something else."""
    place = plan.folder / store.SET
    require_writable(place)
    if place.is_file():
        earlier, wanted = (_decides(one) for one in (ReferenceSet.read(place), plan.described))
        for key, value in wanted.items():
            if earlier.get(key) != value:
                found = f"{key} {earlier.get(key)} there, {value} here"
                raise UserError(f"{plan.folder} holds other references ({found}): choose another --out or delete it")
    elif store.place(plan.folder, 0).exists():
        raise UserError(f"{plan.folder} holds answers but no {store.SET}: choose another --out or delete it")


def build(plan: Plan, progress: Tell | None = None) -> None:
    """Make what is not yet in the folder. One that is cut off goes on where it stopped, to the same files.

    Each is written as soon as it is trained, so what is lost is what was in training at the same time.
    """
    from safedeploy.export.reweight import Exporter

    tell = progress or (lambda fraction: None)
    examples, described = plan.examples, _begun(plan)
    pool, everyone = examples.split.indices(*POOL), examples.samples(*POOL)
    store.write_pool(plan.folder, content_digests(everyone.x), everyone.y, pool)
    described.write(plan.folder / store.SET)
    proof = everyone.x[:PROOF]
    exporter = Exporter(proof.shape[1:], opset=plan.target.opset, model_name=described.model, x=proof)
    groups = _stacks(plan, described.count)
    missing = {k for k in range(described.count) if not store.is_complete(plan.folder, k, described)}
    groups = [group for group in groups if missing.intersection(group)]
    finished = described.count - sum(map(len, groups))
    tell(finished / described.count)
    for wave in _waves(plan, groups):
        told = _share(tell, finished / described.count, len(wave) / described.count)
        train(plan, wave, _Finisher(plan, exporter, missing, len(wave), told))
        told(1.0)
        finished += len(wave)


class _Finisher:
    """Hears how far a wave's training is and writes each wanted reference as it is trained, telling of both."""

    def __init__(self, plan: Plan, exporter: "Exporter", wanted: set[int], count: int, tell: Tell) -> None:
        self._plan, self._exporter, self._wanted, self._count, self._tell = plan, exporter, wanted, count, tell
        self._trained, self._finished = 0.0, 0

    def training(self, fraction: float) -> None:
        self._trained = fraction
        self._tell(TRAINING * self._trained + (1 - TRAINING) * self._finished / self._count)

    def finish(self, number: int, module: "nn.Module") -> None:
        import torch

        if number in self._wanted:
            with torch.random.fork_rng(devices=[]):  # a stack may be in training: its draws must not depend on when
                _finish(self._plan, number, module, self._exporter)
        self._finished += 1
        self.training(self._trained)


def _begun(plan: Plan) -> ReferenceSet:
    """What the folder is to hold: what it was begun with, and as many as are wanted or there."""
    place = plan.folder / store.SET
    if not place.is_file():
        return plan.described
    earlier, there = ReferenceSet.read(place), 0
    while there < earlier.count and store.is_complete(plan.folder, there, earlier):
        there += 1
    return earlier.model_copy(update={"count": max(plan.described.count, there)})


def _stacks(plan: Plan, count: int) -> list[list[int]]:
    """Which references are trained at once: always the same ones, so that a build that goes on gives the same files."""
    from safedeploy.training.device import make_accelerator
    from safedeploy.training.many import Job, groups

    training = plan.recipe.training
    device = make_accelerator(training.device, training.precision).device.type
    module, hooks = fresh(plan.recipe, Examples(plan.examples.dataset, split_of(plan, 0)))
    like = [Job(module, np.flatnonzero(members_of(plan, k)), hooks, seed_of(plan, k)) for k in range(count)]
    return groups(like, training, device)


def _waves(plan: Plan, groups: Sequence[list[int]]) -> list[list[int]]:
    """What is trained by one call, in whole groups: as many as fit in memory, of networks too large for that one."""
    module, _ = fresh(plan.recipe, Examples(plan.examples.dataset, split_of(plan, 0)))
    size = sum(parameter.numel() for parameter in module.parameters())
    if plan.examples.dataset.preprocessing is None:  # each then has its own members
        size += plan.examples.split.indices(*POOL).size * int(np.prod(plan.examples.dataset.input_shape)) // 2
    waves: list[list[int]] = []
    for group in groups:
        if waves and size < SMALL and (len(waves[-1]) + len(group)) * size <= AT_ONCE:
            waves[-1].extend(group)
        else:
            waves.append(list(group))
    return waves


def train(plan: Plan, numbers: Sequence[int], finisher: _Finisher) -> None:
    """Several at once, or one, with its checkpoints; the finisher gets each module on the CPU and in eval mode."""
    from safedeploy.training.many import train_many

    parts = [Examples(plan.examples.dataset, split_of(plan, number)) for number in numbers]
    recipes = [plan.recipe.model_copy(update={"seed": seed_of(plan, number)}) for number in numbers]
    if len(numbers) == 1:
        finisher.finish(numbers[0], _trained(recipes[0], parts[0], _work(plan, numbers[0]), finisher.training))
        return
    modules, hooks = zip(*(fresh(recipe, part) for recipe, part in zip(recipes, parts, strict=True)), strict=True)
    x, y, rows = _members(plan, parts)
    train_many(
        modules,
        (x, y),
        rows,
        hooks,
        plan.recipe.training,
        [recipe.seed for recipe in recipes],
        progress=finisher.training,
        finished=lambda k: finisher.finish(numbers[k], modules[k]),
    )


def _members(plan: Plan, parts: Sequence[Examples]) -> "tuple[torch.Tensor, torch.Tensor, list[Indices]]":
    """Inputs and labels, and for each part the rows of its members among them."""
    import torch

    inside = [part.split.indices(*MEMBERS) for part in parts]
    if plan.examples.dataset.preprocessing is not None:
        pool, everyone = plan.examples.split.indices(*POOL), plan.examples.samples(*POOL)
        x, y, rows = everyone.x, everyone.y, [np.searchsorted(pool, chosen) for chosen in inside]
    else:  # each standardises with its own members
        own = [part.samples(*MEMBERS) for part in parts]
        x, y = np.concatenate([samples.x for samples in own]), np.concatenate([samples.y for samples in own])
        rows = np.split(np.arange(len(y)), np.cumsum([chosen.size for chosen in inside])[:-1])
    return torch.from_numpy(x), torch.from_numpy(y), rows


def _trained(recipe: Recipe, part: Examples, work: Path, progress: Tell) -> "nn.Module":
    import torch

    from safedeploy.training.run import run_training

    def tensors(*roles: Role) -> "tuple[torch.Tensor, torch.Tensor]":
        samples = part.samples(*roles)
        return torch.from_numpy(samples.x), torch.from_numpy(samples.y)

    module, hooks = fresh(recipe, part)
    run_training(
        module,
        tensors(*MEMBERS),
        tensors("validation" if part.split.indices("validation").size else "nonmember_known"),
        hooks,
        recipe.training,
        recipe.seed,
        metrics=work / "metrics.jsonl",
        checkpoints=work / "checkpoints",
        progress=progress,
    )
    return module.cpu().eval()


def _share(tell: Tell, start: float, share: float) -> Tell:
    """Progress of a part that is `share` of the whole and begins at `start`."""
    return lambda fraction: tell(start + share * fraction)


def _finish(plan: Plan, number: int, module: "nn.Module", exporter: "Exporter") -> None:
    part = Examples(plan.examples.dataset, split_of(plan, number))
    logits, digests = _answers(plan, module, part, exporter)
    reference = store.Reference(members_of(plan, number), seed_of(plan, number), logits, digests)
    store.write_reference(plan.folder, number, reference)
    shutil.rmtree(_work(plan, number), ignore_errors=True)


def _work(plan: Plan, number: int) -> Path:
    """Where a reference that trains alone has its checkpoints until it is finished."""
    return plan.folder / f".{number:04d}"


def _answers(
    plan: Plan, module: "nn.Module", part: Examples, exporter: "Exporter"
) -> tuple[dict[str, NDArray[np.float32]], dict[str, str]]:
    """What each exported file answers on the pool, (n, views, classes), and the file's sha256."""
    from safedeploy.threads import suitable

    threads = suitable(sum(parameter.numel() for parameter in module.parameters()))
    x = part.samples(*POOL).x
    logits, digests = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for path in _export(plan, module, part, exporter, Path(folder)):
            artifact = open_artifact(path, threads=threads)
            chunks = (x[start : start + CHUNK] for start in range(0, len(x), CHUNK))
            asked = ([artifact.logits(view) for view in views(chunk, plan.described.views)] for chunk in chunks)
            logits[path.name] = np.concatenate([np.stack(answers, axis=1) for answers in asked])
            digests[path.name] = sha256(path)
    return logits, digests


def _export(plan: Plan, module: "nn.Module", part: Examples, exporter: "Exporter", folder: Path) -> list[Path]:
    """The plan's files of `module`, made as a bundle's are, in `folder`; codes are left out, which change no answer."""
    from safedeploy.export import executorch, onnx_int8
    from safedeploy.export.encoding.rounding import round_file
    from safedeploy.sparsity.structure import as_shipped

    module = as_shipped(module, part.dataset.input_shape, plan.recipe.method.structure)
    how, name, shape = plan.target.quantisation, plan.described.model, part.dataset.input_shape
    files = [folder / file for file in plan.described.files]
    if any(file.suffix == ".onnx" for file in files):
        exporter.export(module, folder / "model.onnx")
    for file in files:
        match file.name:
            case "model.int8.onnx":
                onnx_int8.quantise_onnx(folder / "model.onnx", file, _calibration(part), how)
            case "model.pte":
                executorch.export_pte(module, shape, file, model_name=name)
            case "model.int8.pte":
                executorch.export_int8_pte(module, shape, file, _calibration(part), how, model_name=name)
    for file in files:  # last: the int8 file is made of exact weights
        if values := plan.target.rounding(file.name):
            round_file(file, file, values)
    return files


def _calibration(part: Examples) -> NDArray[np.float32]:
    from safedeploy.export.calibration import divide

    if part.split.indices("validation").size:
        validation = part.samples("validation").x
        return validation[divide(len(validation))[0]]
    return part.samples(*MEMBERS).x[:CALIBRATION]


def _decides(described: ReferenceSet) -> dict[str, object]:
    """What references in one folder have in common, flat, named as an error names it."""
    flat: dict[str, object] = {"data": described.fingerprint[:12], "samples": described.pool, "seed": described.seed}
    flat.update(views=described.views.count, files=",".join(described.files))
    # all there was when older folders were begun
    flat["training.optimizer"] = "sgd"
    flat.update({"method.structure": "irregular", "method.defences": {}})
    flat.update({"method.quantise": None, "method.quantise_at": 0.75})
    for section, values in described.recipe.items():
        flat.update({f"{section}.{key}": value for key, value in values.items()})
    return flat
