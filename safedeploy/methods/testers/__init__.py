"""Who tests SafeCompress' candidates: one file a tester, and every attack of the audit by its name."""

from importlib import import_module
from typing import TYPE_CHECKING

from safedeploy.attacks.membership import ATTACKS
from safedeploy.errors import unknown

if TYPE_CHECKING:
    from safedeploy.methods.base import Context
    from safedeploy.methods.testers.base import Effort, Known, Tester

TESTERS = {
    **{attack.name: "audit" for attack in ATTACKS},
    "rmia": "audit",
    "lira": "audit",
    "attribute": "attribute",
    "attribute-white": "attribute",
    "neural-black": "neural_black",
    "neural-white": "neural_white",
}


def require_known(names: tuple[str, ...]) -> None:
    """Raises UserError for a name that is no tester's."""
    for name in names:
        if name not in TESTERS:
            raise unknown("tester", name, TESTERS)


def make_tester(name: str, known: "Known", context: "Context", effort: "Effort") -> "Tester":
    """The tester `name`: what the `make` of its file gives. Raises UserError for what cannot be."""
    module = import_module(f"safedeploy.methods.testers.{TESTERS[name]}")
    tester: Tester = module.make(name, known, context, effort)
    return tester
