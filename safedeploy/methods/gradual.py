"""A density that falls little by little from the whole network on."""

from safedeploy.errors import UserError
from safedeploy.structures import has_one_density


def falling(left: float, density: float) -> float:
    """Zhu and Gupta 2017 ('To prune, or not to prune'), equation 1: 1 where all of the way is `left`, then a cubic."""
    return density + (1 - density) * left**3


def require_gradual(structure: str, option: str) -> None:
    """Raises UserError for a structure that has one density alone."""
    if has_one_density(structure):
        raise UserError(f"--structure {structure} goes at once: leave out --option {option}")
