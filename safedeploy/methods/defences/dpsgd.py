"""`dpsgd`: differentially private SGD (Abadi et al. 2016) through Opacus: every sample's gradient is clipped and their
sum gets noise, so that no single member can change the weights by much; ε at δ is reported.

The guarantee is for adding or taking away one member, and stands against whoever does not know the run's seed: noise
and batches are drawn from it, and it is in recipe.toml, which stays in the run. What is done with noisy gradients
afterwards costs no privacy: momentum, weight decay, pruning and growing by them.
"""

import warnings
from functools import lru_cache
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from safedeploy.errors import UserError, missing_extra
from safedeploy.methods.base import Context, Options
from safedeploy.results import DpGuarantee
from safedeploy.seeds import torch_generator
from safedeploy.training.hooks import Hooks
from safedeploy.training.loop import Training

EPSILON = 8.0


class DpSgdOptions(Options):
    """How private, and how that is counted."""

    epsilon: float | None = Field(
        None,
        gt=0,
        description="ε that the whole training stays within, for which the noise is found;"
        f" {EPSILON:g} where noise_multiplier is not given either",
    )
    noise_multiplier: float | None = Field(
        None, gt=0, description="the noise's deviation in units of clip, in place of epsilon"
    )
    delta: float | None = Field(
        None, gt=0, lt=1, description="δ; where none is given the largest power of ten below 1 / members"
    )
    clip: float = Field(1.0, gt=0, description="norm that a sample's gradient is cut down to")
    accountant: Literal["prv", "rdp"] = Field(
        "prv",
        description="prv (Gopi et al. 2021) gives less ε for the same noise, rdp (Mironov 2017) counts faster: an upper"
        " bound both",
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.epsilon is not None and self.noise_multiplier is not None:
            raise ValueError("give epsilon or noise_multiplier, not both")
        return self


class DpSgd(Hooks):
    """Poisson batches of `batch_size` samples on average; sums are divided by that, not by how many came."""

    alone = "every sample's gradient is clipped by itself"

    def __init__(self, options: DpSgdOptions, context: Context) -> None:
        self.options, self.seed = options, context.seed
        self.noise = options.noise_multiplier or 0.0
        self._watching: Any = None
        self._drawn: tuple[int, Tensor] = (-1, torch.empty(0))

    def check(self, module: nn.Module) -> None:
        require_samples_apart(module)

    def begin(self, training: Training) -> None:
        """Finds the noise for ε, before a step is done."""
        if self.options.noise_multiplier is None:
            self.noise = noise_for(self.options, len(training.y), rate(training), training.total_steps)
        training.log({"event": "dpsgd", "noise_multiplier": self.noise, "sample_rate": rate(training)})

    def attach(self, training: Training) -> None:
        from opacus.grad_sample.grad_sample_module import GradSampleHooks

        # it is how Opacus watches the first layer
        warnings.filterwarnings("ignore", message="Full backward hook is firing")
        self._watching = GradSampleHooks(training.module, loss_reduction="sum")

    def choose(self, step: int, training: Training) -> Tensor:
        """Each member with probability `rate`. Where none was drawn, member 0, whose loss then counts nothing."""
        drawn = self._poisson(step, training)
        return drawn if len(drawn) else drawn.new_zeros(1)

    def loss(self, logits: Tensor, labels: Tensor, training: Training) -> Tensor:
        """The drawn members' summed cross-entropy over the expected batch size."""
        taught = labels if training.targets is None else training.targets[training.positions(training.step)]
        total = functional.cross_entropy(logits, taught, reduction="sum")
        return total * (min(1, len(self._poisson(training.step, training))) / expected(training))

    def after_backward(self, training: Training) -> None:
        """Clipped and noisy gradients take the place of the plain ones, in all weights, masked ones too."""
        weights = [weight for weight in training.module.parameters() if weight.requires_grad]
        samples: list[Any] = [weight.grad_sample for weight in weights]  # type: ignore[attr-defined]
        share = self.options.clip / expected(training)  # of the sum's division by the batch in each sample already
        generator = torch_generator(self.seed, "dp noise", training.step)
        for weight, total in zip(weights, clipped_sums(samples, share), strict=True):
            noise = torch.randn(weight.shape, generator=generator).to(weight.device)
            weight.grad = total.to(weight.dtype) + self.noise * share * noise
            weight.grad_sample = None  # type: ignore[attr-defined]

    def finish(self, training: Training) -> None:
        """What ships is the module itself, without what watched it."""
        if self._watching is not None:
            self._watching.cleanup()
            self._watching = None

    def guarantee(self, training: Training) -> DpGuarantee:
        steps, delta = training.step, self.options.delta or delta_for(len(training.y))
        return DpGuarantee(
            epsilon=epsilon_of(self.options.accountant, self.noise, rate(training), steps, delta),
            delta=delta,
            noise_multiplier=self.noise,
            clip=self.options.clip,
        )

    def state(self) -> dict[str, Any]:
        return {"noise": self.noise}

    def restore(self, state: dict[str, Any]) -> None:
        self.noise = state["noise"]

    def _poisson(self, step: int, training: Training) -> Tensor:
        if self._drawn[0] != step:
            generator = torch_generator(self.seed, "poisson", step)
            drawn = (torch.rand(len(training.y), generator=generator) < rate(training)).nonzero().flatten()
            self._drawn = (step, drawn.to(training.y.device))
        return self._drawn[1]


def expected(training: Training) -> int:
    """The mean size of a Poisson batch."""
    return min(training.recipe.batch_size, len(training.y))


def rate(training: Training) -> float:
    """The probability with which a member is in a step's batch."""
    return expected(training) / len(training.y)


def clipped_sums(samples: list[Tensor], clip: float) -> list[Tensor]:
    """Σ_i g_i · min(1, clip / ‖g_i‖) by weight (Abadi et al. 2016, algorithm 1); samples: (b, *shape) each.

    ‖g_i‖ is over all weights together.
    """
    norms = torch.stack([torch.linalg.vector_norm(each.flatten(1).float(), dim=1) for each in samples])
    factors = clip / torch.linalg.vector_norm(norms, dim=0).clamp_min(clip)
    return [torch.tensordot(factors.to(each.dtype), each, 1) for each in samples]


def delta_for(members: int) -> float:
    """The largest power of ten below 1 / members."""
    return float(f"1e-{len(str(members))}")


@lru_cache
def noise_for(options: DpSgdOptions, members: int, sample_rate: float, steps: int) -> float:
    """The noise multiplier with which `steps` steps stay within ε: found once for an audit's many references.

    Raises UserError where none is enough.
    """
    from opacus.accountants.utils import get_noise_multiplier

    epsilon, delta = options.epsilon or EPSILON, options.delta or delta_for(members)
    try:
        with warnings.catch_warnings(action="ignore"):  # of bounds that are looser than they could be
            found = get_noise_multiplier(
                target_epsilon=epsilon,
                target_delta=delta,
                sample_rate=sample_rate,
                steps=steps,
                accountant=options.accountant,
                epsilon_tolerance=min(0.01, epsilon / 100),
            )
    except (ValueError, RuntimeError, ArithmeticError, MemoryError) as error:
        raise UserError(
            f"--defence dpsgd: no noise keeps {steps} steps within epsilon {epsilon:g} at delta {delta:g}"
            f" ({str(error).splitlines()[0][:100]}): raise dpsgd.epsilon, or train fewer epochs"
        ) from None
    return float(found)


def epsilon_of(accountant: str, noise: float, sample_rate: float, steps: int, delta: float) -> float:
    """ε at δ of `steps` steps, by Opacus' accountant: an upper bound."""
    from opacus.accountants import create_accountant

    counted = create_accountant(accountant)
    counted.history = [(noise, sample_rate, steps)]
    with warnings.catch_warnings(action="ignore"):
        return float(counted.get_epsilon(delta=delta))


def require_samples_apart(module: nn.Module) -> None:
    """Raises UserError for a layer in which one sample's gradient depends on the others of its batch."""
    for name, layer in module.named_modules():
        what = type(layer).__name__
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            raise UserError(
                f"--defence dpsgd: layer '{name}' is a {what}, which mixes the samples of a batch: choose a model"
                " without batch norm, as mlp and lenet5, or put GroupNorm in its place"
            )
        learns = any(True for _ in layer.parameters(recurse=False))
        if (learns and any(True for _ in layer.buffers(recurse=False))) or isinstance(layer, nn.RNNBase):
            raise UserError(
                f"--defence dpsgd: a single sample's gradient in layer '{name}' ({what}) is not known to Opacus:"
                " choose a model of linear, convolution, embedding, group and layer norm layers"
            )


def make(options: DpSgdOptions, context: Context) -> Hooks:
    from importlib.util import find_spec

    if find_spec("opacus") is None:
        raise missing_extra("--defence dpsgd", "train")
    if context.training.precision == "float16":
        raise UserError("--defence dpsgd: float16 scales the gradients that are clipped: use float32 or bfloat16")
    return DpSgd(options, context)
