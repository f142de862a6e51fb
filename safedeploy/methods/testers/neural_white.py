"""`neural-white`: the white-box attacker of SafeCompress (Zhu et al. 2022, WMIA): loss and last-layer gradient too."""

from torch import Tensor, empty

from safedeploy.artifacts.base import Artifact, Unopenable
from safedeploy.attacks.membership import neural, neural_white
from safedeploy.errors import UserError
from safedeploy.methods.base import Context
from safedeploy.methods.testers.base import Effort, Known, Tester
from safedeploy.methods.testers.neural import NeuralTester, Observed


class NeuralWhite(NeuralTester):
    inner = True

    def begin(self, artifact: Artifact) -> None:
        try:
            artifact.unpack()
        except Unopenable as closed:
            raise UserError(f"no white-box attacker can be simulated: {closed}; use --attacker black") from None

    def observe(self, artifact: Artifact) -> Observed:
        known, box = self.known, artifact.unpack()
        first, second, third = (
            neural_white.inputs(box.features(part.x), part.y)
            for part in (known.members, known.nonmembers, known.judged)
        )
        return first, second, third

    def like(self, weights: dict[str, Tensor]) -> neural.Inputs:
        return (empty(0, len(weights["standardise_features.std"])),)


def make(name: str, known: Known, context: Context, effort: Effort) -> Tester:
    return NeuralWhite(
        known,
        context,
        effort,
        lambda inputs: neural_white.make_network(context.classes, inputs[-1].shape[1], context.seed),
    )
