"""A model dense and as planned: single weights set to zero, or channels taken out."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from safedeploy.plan.layers import Layer, layers_of, other_values
from safedeploy.plan.question import Question

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Network:
    """`planned` are the layers of `layers` as they would ship, `kept` their weights that are not zero by name.

    `others`: the other numbers a file holds.
    """

    layers: list[Layer]
    planned: list[Layer]
    kept: dict[str, int]
    others: int
    planned_others: int

    def density(self, layer: Layer) -> float:
        """The share of a planned layer's weights that is not zero."""
        return self.kept[layer.name] / layer.weights


def network_of(module: "nn.Module", question: Question) -> Network:
    """What a plan needs to know of a dense module. Raises UserError where it cannot have this sparsity."""
    from safedeploy.sparsity.budget import erk

    layers = layers_of(module, question.input_shape, question.model)
    others = other_values(module, layers)
    kept = {layer.name: layer.weights for layer in layers}
    if question.density == 1:
        return Network(layers, layers, kept, others, others)
    if question.structure == "irregular":
        return Network(layers, layers, erk({one.name: one.shape for one in layers}, question.density), others, others)
    smaller = sparse_module(module, question)
    planned = layers_of(smaller, question.input_shape, question.model)
    kept = {layer.name: layer.weights for layer in planned}
    return Network(layers, planned, kept, others, other_values(smaller, planned))


def sparse_module(module: "nn.Module", question: Question) -> "nn.Module":
    """The module as it would ship: its weights of smallest magnitude zero, or its weakest channels gone; a copy.

    After training other channels may go, and so other layers shrink. Raises UserError where it cannot be done.
    """
    import copy

    import torch

    from safedeploy.sparsity.structure import as_shipped, masks_by_magnitude

    sparse = copy.deepcopy(module)
    masks = masks_by_magnitude(sparse, question.input_shape, question.density, question.structure)
    with torch.no_grad():
        for name, parameter in sparse.named_parameters():
            if name in masks:
                parameter[~masks[name]] = 0  # not a product: −w · 0 is −0, and zeros of two signs zip badly
    return as_shipped(sparse, question.input_shape, question.structure)
