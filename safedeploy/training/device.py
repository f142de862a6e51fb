"""Where training runs and in which precision, through accelerate."""

from typing import Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from safedeploy.errors import UserError

_MIXED = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


def make_accelerator(device: Literal["auto", "cpu", "cuda", "mps"], precision: str) -> Accelerator:
    """An accelerator for `device`; accelerate keeps one state a process, so an earlier run's is cleared first."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device in available and not available[device]:
        raise UserError(f"--device {device}: no such device here; use --device auto or cpu")
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(cpu=device == "cpu", mixed_precision=_MIXED[precision])
    if precision == "float16" and accelerator.device.type == "cpu":
        raise UserError("precision float16 needs a GPU; use float32 or bfloat16")
    return accelerator


def deterministic() -> None:
    """Same seed, same machine, same bits: no kernel may choose its algorithm by timing or add in random order."""
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.use_deterministic_algorithms(True, warn_only=True)
