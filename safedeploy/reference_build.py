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
from safedeploy.data.split import MEMBERS, Role, Split
from safedeploy.errors import UserError
from safedeploy.recipe import Recipe
from safedeploy.results import ReferenceSet
from safedeploy.rundir import require_writable, sha256
from safedeploy.seeds import derive

if TYPE_CHECKING:
    import torch
    from torch import nn

    from safedeploy.export.reweight import Exporter
    from safedeploy.export.targets import Target

CHUNK = 2048  # samples of the pool that are in memory in all their views
CALIBRATION = 512  # members of a reference that set its int8 ranges, where there is no validation role
TRAINING = 0.9  # of the time of a reference
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
    """Make what is not yet in the folder. One that is cut off goes on where it stopped, to the same files."""
    from safedeploy.export.reweight import Exporter

    tell = progress or (lambda fraction: None)
    described, examples = plan.described, plan.examples
    if (plan.folder / store.SET).is_file():
        earlier = ReferenceSet.read(plan.folder / store.SET)
        kept = {"count": max(earlier.count, described.count), "made_for": earlier.made_for}
        described = described.model_copy(update={**kept, "versions": earlier.versions})
    pool = examples.split.indices(*POOL)
    store.write_pool(plan.folder, content_digests(examples.samples(*POOL).x), examples.dataset.y[pool], pool)
    described.write(plan.folder / store.SET)
    missing = [k for k in range(plan.described.count) if not store.is_complete(plan.folder, k, described)]
    proof = examples.samples(*POOL).x[:PROOF]
    exporter = Exporter(proof.shape[1:], opset=plan.target.opset, model_name=described.model, x=proof)
    tell(0.0)
    for done, number in enumerate(missing):
        told = _share(tell, done / len(missing), 1 / len(missing))
        part = Examples(examples.dataset, split_of(plan, number))
        work = plan.folder / f".{number:04d}"  # its checkpoints, while it is in training
        (module,) = train_group(plan.recipe, [part], [seed_of(plan, number)], [work], _share(told, 0, TRAINING))
        logits, digests = _answers(plan, module, part, exporter)
        reference = store.Reference(members_of(plan, number), seed_of(plan, number), logits, digests)
        store.write_reference(plan.folder, number, reference)
        shutil.rmtree(work, ignore_errors=True)
        told(1.0)
    if not missing:
        tell(1.0)


def train_group(
    recipe: Recipe, parts: Sequence[Examples], seeds: Sequence[int], work: Sequence[Path], progress: Tell
) -> "list[nn.Module]":
    """The modules of one recipe trained on several splits of its data, on the CPU and in eval mode.

    work: where each keeps its checkpoints, and goes on from them.
    """
    return [
        _trained(
            recipe.model_copy(update={"seed": seed}), part, folder, _share(progress, k / len(parts), 1 / len(parts))
        )
        for k, (part, seed, folder) in enumerate(zip(parts, seeds, work, strict=True))
    ]


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
    """The plan's files of `module`, made as a bundle's are, in `folder`."""
    from safedeploy.export import executorch, onnx_int8

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
    return files


def _calibration(part: Examples) -> NDArray[np.float32]:
    if part.split.indices("validation").size:
        return part.samples("validation").x
    return part.samples(*MEMBERS).x[:CALIBRATION]


def _decides(described: ReferenceSet) -> dict[str, object]:
    """What references in one folder have in common, flat, named as an error names it."""
    flat: dict[str, object] = {"data": described.fingerprint[:12], "samples": described.pool, "seed": described.seed}
    flat.update(views=described.views, files=",".join(described.files))
    for section, values in described.recipe.items():
        flat.update({f"{section}.{key}": value for key, value in values.items()})
    return flat
