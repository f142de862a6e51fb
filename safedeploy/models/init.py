"""Trained weights to begin with: a .safetensors file, a run or published weights, put into a module they fit."""

import contextlib
import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safedeploy.errors import UserError, missing_extra, unknown
from safedeploy.models.zoo import build_model
from safedeploy.recipe import ModelRecipe, read_recipe
from safedeploy.rundir import RunDir

if TYPE_CHECKING:
    from torch import Tensor, nn

Weights = Mapping[str, "Tensor"]

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
_WRAPPERS = ("module.", "_orig_mod.")  # what DataParallel and torch.compile put before every name
_MASK = "mask:"  # in a run's file


def initial_model(recipe: ModelRecipe, input_shape: tuple[int, ...], classes: int, seed: int) -> "nn.Module":
    """The model in training mode with the weights a training begins with: of `recipe.init`, else drawn from `seed`.

    Where the init tells other classes apart, its last linear layer keeps the weights drawn from `seed`.
    Raises UserError for what cannot be built or does not fit.
    """
    module = build_model(recipe.name, input_shape, classes, seed)
    if recipe.init is not None:
        put_in(module, recipe.init, recipe.name)
    return module


def put_in(module: "nn.Module", init: str, name: str) -> list[str]:
    """Give `module` the weights of `init`; the names of the last layer's tensors that stay as they were, if any do.

    name: what an error calls the module. Raises UserError, naming a tensor, where they do not fit.
    """
    given, own = read_weights(init), module.state_dict()
    fresh = _head_to_keep(module, given)
    fitting = _fitting(given, own, fresh, init, name)
    for tensor in fresh:
        if tensor in given and given[tensor].shape[1:] != own[tensor].shape[1:]:
            raise _other_shape(init, name, tensor, given[tensor], own[tensor])
    module.load_state_dict({**own, **fitting})
    return fresh


def anew(module: "nn.Module", init: str) -> list[str]:
    """What `put_in` leaves as it is."""
    return _head_to_keep(module, read_weights(init))


def weights_sha256(init: str) -> str:
    """Of the tensors' names, types, shapes and values, whatever file they lie in."""
    import torch

    digest = hashlib.sha256()
    for name, value in sorted(read_weights(init).items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _head_to_keep(module: "nn.Module", given: Weights) -> list[str]:
    """The tensors of the last linear layer, where `given` has another number of classes or has none of it."""
    own, head = module.state_dict(), _last_linear(module)
    fresh = [tensor for tensor in own if tensor in head]
    return [] if all(_fits(given.get(tensor), own[tensor]) for tensor in fresh) else fresh


def _fitting(given: Weights, own: Weights, fresh: Sequence[str], init: str, name: str) -> dict[str, "Tensor"]:
    """The tensors of `given` that take the place of `own`, in its types."""
    import torch

    wanted = [tensor for tensor in own if tensor not in fresh]
    # files from before torch 0.4.1 do not count batches
    missing = [tensor for tensor in wanted if tensor not in given and not tensor.endswith("num_batches_tracked")]
    extra = [tensor for tensor in given if tensor not in own]
    if extra and (missing or not init.startswith("hf:")):  # language models bring the heads they were trained with
        has = f"'{missing[0]}'" if missing else f"no '{extra[0]}'"
        raise UserError(f"--init {init} holds '{extra[0]}', {name} has {has}: give weights of the same model")
    if missing:
        raise UserError(f"--init {init} lacks '{missing[0]}' of {name}: give weights of the same model, all of them")
    there = [tensor for tensor in wanted if tensor in given]
    for tensor in there:
        if not _fits(given[tensor], own[tensor]):
            raise _other_shape(init, name, tensor, given[tensor], own[tensor])
        if not bool(torch.isfinite(given[tensor]).all()):
            raise UserError(f"--init {init}: '{tensor}' holds values that are not finite; train or download it again")
    return {tensor: given[tensor].to(own[tensor].dtype) for tensor in there}


def read_weights(init: str) -> dict[str, "Tensor"]:
    """Every tensor of `init` by name, on the CPU, a run's masks left out. Raises UserError where it cannot be read."""
    source, _, name = init.partition(":")
    if source == "torchvision":
        return _unwrapped(_torchvision(name))
    place = Path(name if source == "hf" else init).expanduser()
    if source == "hf" and not place.exists():
        place = _downloaded(name)
    return _unwrapped(_folder(place, init) if place.is_dir() else _file(place, init))


def module_of_run(run: RunDir, input_shape: tuple[int, ...], classes: int) -> "nn.Module":
    """The trained model of a run, in evaluation mode. Raises UserError where it takes or gives something else."""
    recipe = read_recipe(run.recipe)
    module = build_model(recipe.model.name, input_shape, classes, recipe.seed)
    if fresh := put_in(module, str(run.root), recipe.model.name):
        raise UserError(f"{run.root} tells other classes apart than the {classes} here ('{fresh[0]}')")
    return module.eval()


def _folder(folder: Path, init: str) -> dict[str, "Tensor"]:
    if (folder / INDEX).is_file():
        parts = sorted(set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()))
    elif (folder / WEIGHTS).is_file():
        parts = [WEIGHTS]
    else:
        raise UserError(f"--init {init} is a folder without {WEIGHTS}; give a finished run or a .safetensors file")
    return {name: value for part in parts for name, value in _file(folder / part, init).items()}


def _file(path: Path, init: str) -> dict[str, "Tensor"]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        stored: dict[str, Tensor] = load_file(path)
    except FileNotFoundError:
        raise UserError(f"--init {init}: there is no {path}; give a .safetensors file, a run or hf:NAME") from None
    except OSError as error:
        raise UserError(f"--init {init}: cannot read {path}: {error.strerror}") from None
    except SafetensorError as error:
        how = "save a checkpoint with safetensors.torch.save_file(model.state_dict(), 'model.safetensors')"
        raise UserError(f"--init {init} is no safetensors file ({_line(error)}): {how}") from None
    return {name: value for name, value in stored.items() if not name.startswith(_MASK)}


def _torchvision(name: str) -> dict[str, "Tensor"]:
    from safedeploy.vision import torchvision

    models = torchvision("torchvision.models")
    if name not in models.list_models():
        raise unknown("torchvision model", name, models.list_models())
    published = models.get_model_weights(name).DEFAULT
    options = {"progress": False, "check_hash": True, "weights_only": True}
    weights: dict[str, Tensor] = _fetched(f"torchvision:{name}", lambda: published.get_state_dict(**options))
    return weights


def _downloaded(name: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise missing_extra("--init hf:NAME", "text") from None
    patterns = ["*.safetensors", INDEX]
    return Path(_fetched(f"hf:{name}", lambda: snapshot_download(name, allow_patterns=patterns)))


def _fetched(init: str, fetch: Callable[[], Any]) -> Any:
    """What `fetch` gets over the network or finds in its cache; any failure is one line."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # torch.hub says there what it downloads
            return fetch()
    except Exception as error:
        advice = "without a network give a file: --init FILE.safetensors"
        raise UserError(f"--init {init} cannot be had ({type(error).__name__}: {_line(error)}); {advice}") from None


def _unwrapped(weights: Weights) -> dict[str, "Tensor"]:
    for wrapper in _WRAPPERS:
        if weights and all(name.startswith(wrapper) for name in weights):
            return _unwrapped({name.removeprefix(wrapper): value for name, value in weights.items()})
    return dict(weights)


def _last_linear(module: "nn.Module") -> set[str]:
    """The names of its weight and bias; none where the module has no linear layer."""
    from torch import nn

    linear = [name for name, layer in module.named_modules() if isinstance(layer, nn.Linear)]
    return {f"{linear[-1]}.weight".lstrip("."), f"{linear[-1]}.bias".lstrip(".")} if linear else set()


def _fits(given: "Tensor | None", own: "Tensor") -> bool:
    return given is not None and given.shape == own.shape


def _other_shape(init: str, name: str, tensor: str, given: "Tensor", own: "Tensor") -> UserError:
    shapes = f"{tuple(given.shape)} there and {tuple(own.shape)} in {name}"
    return UserError(f"--init {init}: '{tensor}' is {shapes} for this data: give weights of the same model and input")


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no reason given"
