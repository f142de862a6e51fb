"""ONNX graphs as torch modules that compute the same answers with gradients; needs the extra `train`."""

from safedeploy.artifacts.onnx_import import (  # each module registers its operators
    activation,
    elementwise,
    indexing,
    normalisation,
    products,
    quantisation,
    reduction,
    resizing,
    shapes,
    windows,
)
from safedeploy.artifacts.onnx_import.graph import Graph
from safedeploy.artifacts.onnx_import.registry import OPERATORS

__all__ = [
    "OPERATORS",
    "Graph",
    "activation",
    "elementwise",
    "indexing",
    "normalisation",
    "products",
    "quantisation",
    "reduction",
    "resizing",
    "shapes",
    "windows",
]
