"""`neural-black`: the black-box attacker of SafeCompress (Zhu et al. 2022, BMIA), on answers and labels."""

from torch import Tensor

from safedeploy.artifacts.base import Artifact
from safedeploy.attacks.membership import neural, neural_black
from safedeploy.methods.base import Context
from safedeploy.methods.testers.base import Effort, Known, Tester
from safedeploy.methods.testers.neural import NeuralTester, Observed


class NeuralBlack(NeuralTester):
    def observe(self, artifact: Artifact) -> Observed:
        known = self.known
        first, second, third = (
            neural_black.inputs(artifact.logits(part.x), part.y)
            for part in (known.members, known.nonmembers, known.judged)
        )
        return first, second, third

    def like(self, weights: dict[str, Tensor]) -> neural.Inputs:
        return ()


def make(name: str, known: Known, context: Context, effort: Effort) -> Tester:
    return NeuralBlack(known, context, effort, lambda _: neural_black.make_network(context.classes, context.seed))
