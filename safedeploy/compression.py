"""The compress stage: a recipe trained into a run directory, resumed, and loaded again."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from safedeploy.data.canaries import Canaries, draw_canaries, read_canaries
from safedeploy.data.dataset import Dataset, preprocess, preprocessing
from safedeploy.data.load import load_dataset
from safedeploy.data.samples import Samples
from safedeploy.data.split import MEMBERS, ROLES, Indices, Role, Split, draw_split, read_split
from safedeploy.data.tokeniser import Tokeniser, of_model
from safedeploy.errors import UserError, missing_extra
from safedeploy.hub import PREFIX
from safedeploy.recipe import DataRecipe, Recipe, TrainingRecipe, read_recipe
from safedeploy.results import Preprocessing, Summary
from safedeploy.rundir import RunDir, open_run, whole_or_nothing
from safedeploy.versions import versions

if TYPE_CHECKING:
    from torch import nn

    from safedeploy.training.hooks import Hooks

Progress = Callable[[str], Callable[[float], None]]  # a stage's name -> where to tell how far it is, 0 to 1
PathLike = str | Path


def silent(stage: str) -> Callable[[float], None]:
    return lambda fraction: None


@dataclass(frozen=True, eq=False)
class Examples:
    """A run's data set with its split, and the one road from an example to a model's input.

    An example that serves as a canary has lost its role.
    """

    dataset: Dataset
    split: Split
    canaries: Canaries | None = None
    tokeniser: Tokeniser | None = None  # the one that a run of texts kept

    @cached_property
    def preprocessing(self) -> Preprocessing | Tokeniser:
        return self.tokeniser or preprocessing(self.dataset, self.split)

    def samples(self, *roles: Role) -> Samples:
        chosen = self.split.indices(*roles)
        if self.canaries is not None:
            chosen = np.setdiff1d(chosen, self.canaries.index)
        return self.at(chosen, self.dataset.y[chosen])

    def training(self) -> Samples:
        """Members, and the canaries whose coin put them in."""
        members = self.split.indices(*MEMBERS)
        index, label = self.canaries.trained if self.canaries is not None else (members[:0], members[:0])
        return self.at(np.concatenate([members, index]), np.concatenate([self.dataset.y[members], label]))

    def at(self, index: Indices, label: Indices) -> Samples:
        """The examples at these places of the data set, under these labels."""
        x = preprocess(self.dataset.x[index], self.preprocessing)
        sensitive = self.dataset.sensitive
        return Samples(x, label, None if sensitive is None else sensitive.values[index])


def compress(recipe: Recipe, runs: PathLike = "runs", *, progress: Progress = silent) -> RunDir:
    """Train as the recipe says; leaves model.safetensors and summary.json in runs/NAME.

    Raises UserError for bad input, which leaves nothing behind where it shows before the first checkpoint.
    """
    target_name(recipe.target)
    run = RunDir(Path(runs) / recipe.name)
    if run.recipe.exists():
        raise UserError(f"{run.root} exists: continue it with --resume {run.root}, or choose another --name")
    with whole_or_nothing(run):
        return train_run(run, recipe, progress)


def resume(root: PathLike, *, progress: Progress = silent) -> RunDir:
    """Continue a run that was cut off, to the weights it would have had."""
    run = open_run(Path(root))
    return train_run(run, read_recipe(run.recipe), progress)


def load(root: PathLike) -> "nn.Module":
    """The trained module of a run, on the CPU, in evaluation mode."""
    need_torch("loading a run's weights")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from safedeploy.models.zoo import build_model

    run = open_run(Path(root))
    recipe = read_recipe(run.recipe)
    if not run.weights.is_file():
        raise UserError(f"{root} has no weights yet: finish it with 'safedeploy compress --resume {root}'")
    examples = load_examples(run)
    module = build_model(
        recipe.model.name, examples.dataset.input_shape, len(examples.dataset.class_names), recipe.seed
    )
    try:
        stored = load_file(run.weights)
        module.load_state_dict({name: value for name, value in stored.items() if not name.startswith("mask:")})
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise UserError(f"{run.weights} is damaged or not of {recipe.model.name} ({reason}); train again") from None
    return module.eval()


def load_examples(run: RunDir, data_root: str | None = None) -> Examples:
    """The data set of a run, checked against the fingerprint its split was drawn for."""
    recipe = read_recipe(run.recipe)
    source = recipe.data if data_root is None else recipe.data.model_copy(update={"root": data_root})
    dataset, split = _dataset(source, recipe), read_split(run.split)
    if dataset.fingerprint != split.fingerprint:
        raise UserError(
            f"the data of '{recipe.data.source}' is not what {run.root} was trained on (fingerprints differ):"
            " give the same files"
        )
    kept = run.tokenizer.read_text(encoding="utf-8") if run.tokenizer.is_file() else None
    return Examples(
        dataset,
        split,
        read_canaries(run.canaries) if run.canaries.is_file() else None,
        None if kept is None else Tokeniser(kept),
    )


def _dataset(source: DataRecipe, recipe: Recipe) -> Dataset:
    """The data, and of texts the tokeniser that belongs to the model, where one does."""
    dataset = load_dataset(source)
    if dataset.kind != "text" or not recipe.model.name.startswith(PREFIX):
        return dataset
    return replace(dataset, preprocessing=of_model(recipe.model.name, dataset.length))


def prepared(recipe: Recipe, run: RunDir | None) -> tuple[Examples, "nn.Module", "Hooks"]:
    """What a training begins with; `run`: where its split may be. Raises UserError for bad input; writes nothing."""
    need_torch("training")
    if run is not None and run.split.exists():
        examples = load_examples(run)
    else:
        dataset = _dataset(recipe.data, recipe)
        split = draw_split(
            dataset.y, dataset.official_test, recipe.split, recipe.seed, dataset.fingerprint, dataset.class_names
        )
        examples = Examples(dataset, split, _drawn(recipe, dataset, split))
    return examples, *fresh(recipe, examples)


def _drawn(recipe: Recipe, dataset: Dataset, split: Split) -> Canaries | None:
    count, kind = recipe.training.canaries, recipe.training.canary_kind
    return draw_canaries(dataset.y, len(dataset.class_names), split, count, recipe.seed, kind) if count else None


def fresh(recipe: Recipe, examples: Examples) -> tuple["nn.Module", "Hooks"]:
    """The module as training begins with it and its method's hooks. Raises UserError for bad input."""
    from safedeploy.methods.base import Context
    from safedeploy.methods.registry import make_method
    from safedeploy.models.init import initial_model
    from safedeploy.models.zoo import require_kind
    from safedeploy.sparsity.structure import require_reachable
    from safedeploy.training.device import make_accelerator

    dataset = examples.dataset
    require_kind(recipe.model.name, dataset.kind)
    module = initial_model(recipe.model, dataset.input_shape, len(dataset.class_names), recipe.seed)
    _require_fitting(recipe.model.name, module, examples)
    _require_images(recipe.training, dataset)
    method = recipe.method
    context = Context(
        density=method.density,
        seed=recipe.seed,
        classes=len(dataset.class_names),
        input_shape=dataset.input_shape,
        members=examples.samples("member_known"),
        nonmembers=examples.samples("nonmember_known"),
        validation=examples.samples("validation"),
        structure=method.structure,
        model=recipe.model,
        training=recipe.training,
    )
    hooks = make_method(method, context)
    hooks.check(module)
    if method.density < 1:
        require_reachable(module, dataset.input_shape, method.density, method.structure)
    make_accelerator(recipe.training.device, recipe.training.precision)
    return module, hooks


def _require_images(training: TrainingRecipe, dataset: Dataset) -> None:
    """Raises UserError where inputs that are no images are to be augmented, or moved out of sight."""
    if training.augment == "none":
        return
    if len(dataset.input_shape) != 3:
        raise UserError(
            f"--augment {training.augment} is for images; this data set is of {dataset.kind}s: leave it out"
        )
    if training.padding is not None and training.padding >= min(dataset.input_shape[1:]):
        raise UserError(f"training.padding {training.padding}: these images have {min(dataset.input_shape[1:])} pixels")


def _require_fitting(name: str, module: "nn.Module", examples: Examples) -> None:
    """Raises UserError where a model of tokens meets other data, the other way round, or has too few of them."""
    from safedeploy.artifacts.tokens import takes_tokens

    kind, how = examples.dataset.kind, examples.preprocessing
    if takes_tokens(module) != (kind == "text"):
        takes = "takes other inputs than tokens" if kind == "text" else f"takes tokens, and this data set is of {kind}s"
        raise UserError(f"--model {name} {takes}; a module of token numbers says so: tokens = True")
    known = getattr(module, "vocabulary", None)
    if isinstance(how, Tokeniser) and known is not None and how.vocabulary > known:
        raise UserError(
            f"--model {name} knows {known:,} tokens, its tokeniser has {how.vocabulary:,}: they do not belong together"
        )


def train_run(run: RunDir, recipe: Recipe, progress: Progress) -> RunDir:
    """Train into `run`, from its newest checkpoint where there is one: the weights and summary.json come last."""
    examples, module, hooks = prepared(recipe, run)
    import torch
    from safetensors.torch import save

    from safedeploy.export.targets import keep_target
    from safedeploy.models.init import anew, weights_sha256
    from safedeploy.rundir import write_bytes, write_text
    from safedeploy.sparsity.masks import layer_densities, total_density
    from safedeploy.training.evaluate import accuracy
    from safedeploy.training.run import run_training

    recipe.write(run.recipe)
    keep_target(run, recipe.target)
    examples.split.write(run.split)
    if isinstance(how := examples.preprocessing, Tokeniser):
        write_text(run.tokenizer, how.content)
    if examples.canaries is not None:
        examples.canaries.write(run.canaries)

    def tensors(part: Samples) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.from_numpy(part.x), torch.from_numpy(part.y)

    validation = tensors(examples.samples("validation"))
    init = recipe.model.init
    lacking = [] if init is None else anew(module, init)
    stage = f"train {recipe.method.name}" + (f" from {init}" if init else "")
    stage += f", {' and '.join(lacking)} anew" if lacking else ""

    started = perf_counter()
    training = run_training(
        module,
        tensors(examples.training()),
        validation,
        hooks,
        recipe.training,
        recipe.seed,
        metrics=run.metrics,
        checkpoints=run.checkpoints,
        progress=progress(stage),
    )
    seconds = perf_counter() - started
    module.cpu()
    weights = {name: value.contiguous() for name, value in module.state_dict().items()}
    masks = {f"mask:{name}": mask.cpu().contiguous() for name, mask in training.masks.items()}
    write_bytes(run.weights, save({**weights, **masks}))
    layers = layer_densities(module)
    Summary(
        data=examples.dataset.name,
        fingerprint=examples.split.fingerprint,
        model=recipe.model.name,
        method=recipe.method.name,
        density=total_density(layers),
        layers=layers,
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        accuracy={
            "member": accuracy(module, *tensors(examples.samples(*MEMBERS))),
            "validation": accuracy(module, *validation),
            "test": accuracy(module, *tensors(examples.samples("test"))),
        },
        epochs=training.epoch,
        seconds=round(seconds, 2),
        seed=recipe.seed,
        device=str(training.accelerator.device),
        versions=versions(),
        roles={role: int(examples.split.indices(role).size) for role in ROLES},
        defences=list(recipe.method.defences),
        guarantee=hooks.guarantee(training),
        init=init,
        init_sha256=None if init is None else weights_sha256(init),
        init_anew=lacking,
    ).write(run.summary)
    return run


def target_name(target: str) -> str:
    from safedeploy.export.targets import load_target

    return load_target(target).name


def need_torch(what: str) -> None:
    """Raises UserError naming the extra where torch is not installed."""
    from importlib.util import find_spec

    if find_spec("torch") is None:
        raise missing_extra(what, "train")
