"""What a sparsity keeps together, by name: `irregular`, `channel`, `block:1x4`, `2:4` and the others."""

import re

from safedeploy.errors import UserError, unknown

NAMED = ("irregular", "channel", "filter", "column", "kernel", "pattern")
KINDS = (*NAMED, "block", "N:M")
KNOWN = (*NAMED, "block:RxC", "N:M")

_BLOCK = re.compile(r"block:([1-9]\d{0,3})x([1-9]\d{0,3})")
_N_OF_M = re.compile(r"([1-9]\d?):([1-9]\d?)")


def kind_of(structure: str) -> str:
    """One of KINDS. Raises UserError for a name that is no structure."""
    if structure in NAMED:
        return structure
    if block_of(structure):
        return "block"
    kept = _N_OF_M.fullmatch(structure)
    if kept and int(kept[1]) >= int(kept[2]):
        raise UserError(
            f"structure '{structure}' keeps {kept[1]} of every {kept[2]} weights: N must be below M, as in 2:4"
        )
    if kept:
        return "N:M"
    raise unknown("structure", structure, KNOWN)


def block_of(structure: str) -> tuple[int, int] | None:
    """Rows and columns of a block structure."""
    found = _BLOCK.fullmatch(structure)
    return (int(found[1]), int(found[2])) if found else None


def n_of_m(structure: str) -> tuple[int, int] | None:
    """How many of how many weights an N:M structure keeps."""
    found = _N_OF_M.fullmatch(structure)
    return (int(found[1]), int(found[2])) if found else None


def has_one_density(structure: str) -> bool:
    """Whether the structure itself says how much is kept where it is, so that it cannot be reached little by little."""
    return structure == "pattern" or n_of_m(structure) is not None
