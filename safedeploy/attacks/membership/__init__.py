"""Membership inference: was this sample in the training data? One attack a file."""

from collections.abc import Iterable

from safedeploy.attacks.base import Attack
from safedeploy.errors import unknown

_HERE = "safedeploy.attacks.membership"

ATTACKS: tuple[Attack, ...] = (
    *(
        Attack(f"{signal}{suffix}", "black", f"{_HERE}.threshold:{signal.replace('-', '_')}{suffix.replace('-', '_')}")
        for signal in ("loss", "confidence", "entropy", "modified-entropy")
        for suffix in ("", "-by-class")
    ),
    Attack("neural-black", "black", f"{_HERE}.neural_black:score", extra="train"),
    Attack("neural-white", "white", f"{_HERE}.neural_white:score", extra="train"),
)

STANDARD = tuple(attack for attack in ATTACKS if not attack.slow)
SETS = {"standard": STANDARD, "all": ATTACKS}


def select(names: Iterable[str]) -> tuple[Attack, ...]:
    """Attacks by their names or by the name of a set ('standard', 'all'). Raises UserError for an unknown name."""
    by_name = {attack.name: (attack,) for attack in ATTACKS} | SETS
    chosen: dict[Attack, None] = {}
    for name in names:
        if name not in by_name:
            raise unknown("attack", name, by_name)
        chosen.update(dict.fromkeys(by_name[name]))
    return tuple(chosen)
