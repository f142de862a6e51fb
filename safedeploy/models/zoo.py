"""A model by its name in the zoo, or by the user's own factory, with weights drawn from a seed."""

from importlib import import_module
from typing import TYPE_CHECKING

from safedeploy.errors import UserError, missing_extra, unknown
from safedeploy.hub import PREFIX
from safedeploy.seeds import derive

if TYPE_CHECKING:
    from torch import nn

_SMALLEST_SIDE = {"lenet5": 4, "alexnet": 8, "vgg16": 8, "resnet18": 8, "mobilenet_v2": 8}
_CHANNELS_HEIGHT_WIDTH = 3
TEXT = ("bert-tiny",)


def model_names() -> tuple[str, ...]:
    """The zoo; each name is a module of this package with a `build(input_shape, classes)`."""
    return (*_SMALLEST_SIDE, "mlp")


def build_model(name: str, input_shape: tuple[int, ...], classes: int, seed: int) -> "nn.Module":
    """The model `name`, in training mode: input (n, *input_shape), output logits (n, classes).

    name: of the zoo, or hf:NAME-or-folder (a published BERT or RoBERTa with its weights), or package.module:function,
    or path/to/file.py:function, which runs that code. What is drawn depends on `seed` alone, and the global random
    state is left as it was. Raises UserError for what cannot be built.
    """
    try:
        import torch
    except ImportError:
        raise missing_extra("a model", "train") from None
    from safedeploy.models import factory

    text = reads_text(name)
    if ":" not in name and not text:
        _check(name, input_shape)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive(seed, "model"))
        if text:
            return _text(name, input_shape, classes).train()
        if ":" in name:
            return factory.build(name, input_shape, classes)
        model: nn.Module = import_module(f"safedeploy.models.{name}").build(input_shape, classes)
    return model.train()


def reads_text(name: str) -> bool:
    """Whether `name` is one of the models of text that come with safedeploy or are published."""
    return name in TEXT or name.startswith(PREFIX)


def require_kind(name: str, kind: str) -> None:
    """Raises UserError where a model of the zoo does not take data of `kind`: image, table or text."""
    reads = reads_text(name)
    if reads and kind != "text":
        raise UserError(f"{name} reads text, and this data set is of {kind}s: name a column of texts with --text")
    if kind == "text" and not reads and name in model_names():
        raise UserError(f"{name} does not read text: use {TEXT[0]}, or {PREFIX}NAME-or-folder of a BERT or RoBERTa")


def _text(name: str, input_shape: tuple[int, ...], classes: int) -> "nn.Module":
    from safedeploy.models import text

    if len(input_shape) != 1:
        raise UserError(f"{name} takes (tokens,), not inputs of shape {input_shape}")
    if name in TEXT:
        return text.bert_tiny(input_shape[0], classes)
    return text.from_hub(name, input_shape[0], classes)


def _check(name: str, input_shape: tuple[int, ...]) -> None:
    if name.endswith(".py"):
        raise UserError(f"--model {name}: say which function of the file builds the model, as {name}:function")
    if name not in model_names():
        known = unknown("model", name, (*model_names(), *TEXT))
        raise UserError(f"{known}; or give package.module:function or file.py:function")
    if name == "mlp":
        return
    if len(input_shape) != _CHANNELS_HEIGHT_WIDTH:
        raise UserError(f"{name} wants images; this data has {input_shape[0]} columns: use mlp")
    smallest, (height, width) = _SMALLEST_SIDE[name], input_shape[1:]
    if min(height, width) < smallest:
        raise UserError(
            f"{name} wants images of at least {smallest} × {smallest} pixels; these have {height} × {width}: use mlp"
        )
