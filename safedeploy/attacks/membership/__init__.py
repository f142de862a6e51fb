"""Membership inference: was this sample in the training data? One attack a file."""

from collections.abc import Iterable

from safedeploy.attacks.base import Attack
from safedeploy.errors import unknown

_HERE = "safedeploy.attacks.membership"

_SIGNALS = ("loss", "confidence", "margin", "entropy", "modified-entropy")


def _threshold(signal: str, suffix: str) -> Attack:
    return Attack(f"{signal}{suffix}", "black", f"{_HERE}.threshold:{(signal + suffix).replace('-', '_')}")


ATTACKS: tuple[Attack, ...] = (
    *(_threshold(signal, suffix) for signal in _SIGNALS for suffix in ("", "-by-class")),
    Attack("boosted", "black", f"{_HERE}.boosted:score"),
    Attack("quantile", "black", f"{_HERE}.quantile:score"),
    Attack("neural-black", "black", f"{_HERE}.neural_black:score", extra="train"),
    Attack("neural-white", "white", f"{_HERE}.neural_white:score", extra="train"),
    Attack("gradient-norm", "white", f"{_HERE}.gradient_norm:score", extra="train"),
    Attack("nasr", "white", f"{_HERE}.nasr:score", extra="train", slow=True),
    Attack("noise-averaged", "black", f"{_HERE}.noise_averaged:score", queries=True),
    Attack("augment-averaged", "black", f"{_HERE}.augment_averaged:score", queries=True),
    Attack("samia", "black", f"{_HERE}.samia:score", extra="train", queries=True, slow=True),
    Attack("label-only-noise", "black", f"{_HERE}.label_only_noise:score", labels_only=True, queries=True, slow=True),
    Attack(
        "label-only-augment", "black", f"{_HERE}.label_only_augment:score", labels_only=True, queries=True, slow=True
    ),
    Attack("boundary-distance", "black", f"{_HERE}.boundary_distance:score", labels_only=True, queries=True, slow=True),
    Attack("attack-p", "black", f"{_HERE}.attack_p:score"),
    Attack("attack-r", "black", f"{_HERE}.attack_r:score", references=2),
    Attack("lira-offline", "black", f"{_HERE}.lira:offline", references=2),
    Attack("lira-online", "black", f"{_HERE}.lira:online", references=2),
    Attack("rmia-offline", "black", f"{_HERE}.rmia:offline", references=2),
    Attack("rmia-online", "black", f"{_HERE}.rmia:online", references=2),
    Attack("combined", "black", f"{_HERE}.combined:score", references=2),
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
