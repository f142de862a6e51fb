"""Matrix products."""

import torch
from torch import Tensor

from safedeploy.artifacts.onnx_import.registry import Node, operator


@operator("MatMul")
def matmul(_: Node, a: Tensor, b: Tensor) -> Tensor:
    if a.is_floating_point() == b.is_floating_point():
        return torch.matmul(a, b)
    return torch.matmul(a.float(), b.float())


@operator("Gemm")
def gemm(node: Node, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    a = a.T if node.get("transA", 0) else a
    b = b.T if node.get("transB", 0) else b
    product: Tensor = node.get("alpha", 1.0) * (a @ b)
    return product if c is None else product + node.get("beta", 1.0) * c


@operator("Einsum")
def einsum(node: Node, *tensors: Tensor) -> Tensor:
    return torch.einsum(node.get("equation"), *tensors)
