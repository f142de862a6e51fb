"""`set`: sparse evolutionary training (Mocanu et al. 2018): prune the weights nearest zero by sign, grow at random."""

from safedeploy.methods.base import Context
from safedeploy.methods.dynamic import DynamicOptions, DynamicSparse
from safedeploy.training.hooks import Hooks


class SetOptions(DynamicOptions):
    pass


def make(options: SetOptions, context: Context) -> Hooks:
    return DynamicSparse(options, context, ("set", "random"))
