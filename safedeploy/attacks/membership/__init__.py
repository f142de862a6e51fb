"""Membership inference: was this sample in the training data? One attack a file."""

from safedeploy.attacks.base import Attack

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
