"""`rigl`: the rigged lottery (Evci et al. 2020): prune by magnitude, grow where the gradient is largest."""

from pydantic import Field

from safedeploy.methods.base import Context
from safedeploy.methods.dynamic import DynamicOptions, DynamicSparse
from safedeploy.training.hooks import Hooks


class RiglOptions(DynamicOptions):
    """The rates of the paper."""

    rate_start: float = Field(
        0.3, gt=0, lt=1, description="share of each layer's weights replaced at first, falling along a cosine"
    )
    rate_end: float = Field(0.0, ge=0, lt=1, description="share of each layer's weights replaced at last")


def make(options: RiglOptions, context: Context) -> Hooks:
    return DynamicSparse(options, context, ("magnitude", "gradient"))
