"""`ppb`: pair-based posterior balancing (Yuan & Zhang 2022, USENIX Security): the ranked answers to both samples of a
random pair are drawn together, so that how sure the model is says little about either."""

from pydantic import Field
from torch import Tensor
from torch.nn import functional

from safedeploy.methods.base import Context, Options
from safedeploy.training.hooks import Hooks
from safedeploy.training.loop import Training


class PpbOptions(Options):
    """How strongly pairs are drawn together."""

    weight: float = Field(
        4.0, gt=0, description="λ, of the divergence beside the cross-entropy; 4 in the authors' code"
    )


class Ppb(Hooks):
    def __init__(self, options: PpbOptions) -> None:
        self.options = options

    def loss_term(self, logits: Tensor, labels: Tensor, training: Training) -> Tensor | None:
        return self.options.weight * balance(logits) if len(logits) > 1 else None


def balance(logits: Tensor) -> Tensor:
    """Mean KL(q ‖ p) over the pairs of a batch: logits (b, classes); p of its first half, q of its second, both sorted.

    Batches are shuffled, so halves are random pairs; of an odd batch the last sample has none. As in the authors' code
    both sides learn.
    """
    half = len(logits) // 2
    ranked = logits.sort(dim=1, descending=True).values.log_softmax(1)
    return functional.kl_div(ranked[:half], ranked[half : 2 * half], reduction="batchmean", log_target=True)


def make(options: PpbOptions, context: Context) -> Hooks:
    return Ppb(options)
