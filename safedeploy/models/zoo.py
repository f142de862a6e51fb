"""A model by its name in the zoo, or by the user's own factory, with weights drawn from a seed."""

from importlib import import_module
from typing import TYPE_CHECKING

from safedeploy.errors import UserError, missing_extra, unknown
from safedeploy.seeds import derive

if TYPE_CHECKING:
    from torch import nn

_SMALLEST_SIDE = {"lenet5": 4, "alexnet": 8, "vgg16": 8, "resnet18": 8, "mobilenet_v2": 8}
_CHANNELS_HEIGHT_WIDTH = 3


def model_names() -> tuple[str, ...]:
    """The zoo; each name is a module of this package with a `build(input_shape, classes)`."""
    return (*_SMALLEST_SIDE, "mlp")


def build_model(name: str, input_shape: tuple[int, ...], classes: int, seed: int) -> "nn.Module":
    """The model `name`, in training mode: input (n, *input_shape), output logits (n, classes).

    name: of the zoo, or package.module:function, or path/to/file.py:function, which runs that code. The weights depend
    on `seed` alone and the global random state is left as it was. Raises UserError for what cannot be built.
    """
    try:
        import torch
    except ImportError:
        raise missing_extra("a model", "train") from None
    from safedeploy.models import factory

    if ":" not in name:
        _check(name, input_shape)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive(seed, "model"))
        if ":" in name:
            return factory.build(name, input_shape, classes)
        model: nn.Module = import_module(f"safedeploy.models.{name}").build(input_shape, classes)
    return model.train()


def _check(name: str, input_shape: tuple[int, ...]) -> None:
    if name.endswith(".py"):
        raise UserError(f"--model {name}: say which function of the file builds the model, as {name}:function")
    if name not in model_names():
        raise UserError(f"{unknown('model', name, model_names())}; or give package.module:function or file.py:function")
    if name == "mlp":
        return
    if len(input_shape) != _CHANNELS_HEIGHT_WIDTH:
        raise UserError(f"{name} wants images; this data has {input_shape[0]} columns: use mlp")
    smallest, (height, width) = _SMALLEST_SIDE[name], input_shape[1:]
    if min(height, width) < smallest:
        raise UserError(
            f"{name} wants images of at least {smallest} × {smallest} pixels; these have {height} × {width}: use mlp"
        )
