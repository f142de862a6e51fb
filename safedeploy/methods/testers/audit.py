"""Any attack of the audit as a tester, by its name: `rmia-online`, `margin`, `boosted`, …"""

from collections.abc import Sequence

from safedeploy.artifacts.base import Artifact, Unopenable
from safedeploy.attacks.base import Attack, Knowledge
from safedeploy.attacks.membership import select
from safedeploy.errors import UserError
from safedeploy.methods.base import Context
from safedeploy.methods.testers.base import Effort, Known, Tester

SHORT = {"rmia": "rmia-online", "lira": "lira-online"}


class AuditTester(Tester):
    """Each candidate is attacked when it is seen: what these attacks fit is a cut, which AUC does not look at."""

    def __init__(self, attack: Attack, known: Known, context: Context, effort: Effort) -> None:
        super().__init__(known, context, effort)
        self.attack = attack
        self.inner = attack.access == "white"
        self.compares = attack.references > 0

    def begin(self, artifact: Artifact) -> None:
        try:
            self.observe(artifact)
        except Unopenable as closed:
            raise UserError(f"tester {self.attack.name} cannot attack this model: {closed}; choose another") from None

    def observe(self, artifact: Artifact) -> float:
        known = self.known
        knowledge = Knowledge(known.members, known.nonmembers, self.context.seed, self.references)
        return self.success(self.attack.score(artifact, knowledge, known.judged).values)

    def judge(self, observed: Sequence[float]) -> list[float]:
        return list(observed)


def make(name: str, known: Known, context: Context, effort: Effort) -> Tester:
    (attack,) = select([SHORT.get(name, name)])
    return AuditTester(attack, known, context, effort)
