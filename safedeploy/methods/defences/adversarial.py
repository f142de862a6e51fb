"""`adv-reg`: adversarial regularisation (Nasr, Shokri & Houmansadr 2018): the model is also taught to lower the gain of
an attacker that is trained against it all the while; with weight 0.1, SafeCompress' optional adversarial phase."""

from safedeploy.methods.adversary import AdversarialGame, GameOptions
from safedeploy.methods.base import Context
from safedeploy.training.hooks import Hooks


class AdvRegOptions(GameOptions):
    """The game, and nothing besides."""


def make(options: AdvRegOptions, context: Context) -> Hooks:
    return AdversarialGame(options, context)
