"""`rigl`: the rigged lottery (Evci et al. 2020): prune by magnitude, grow where the gradient is largest."""

from safedeploy.methods.base import Context
from safedeploy.methods.dynamic import DynamicOptions, DynamicSparse
from safedeploy.training.hooks import Hooks


class RiglOptions(DynamicOptions):
    """`rate_start` 0.3 and `rate_end` 0 as in the paper."""

    rate_start: float = 0.3
    rate_end: float = 0.0


def make(options: RiglOptions, context: Context) -> Hooks:
    return DynamicSparse(options, context, ("magnitude", "gradient"))
