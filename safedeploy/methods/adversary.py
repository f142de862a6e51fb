"""The adversarial game: attackers of membership trained beside the model, whose gain the model is taught to lower
(Nasr, Shokri & Houmansadr 2018, 'Machine learning with membership privacy using adversarial regularization')."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from safedeploy.artifacts.base import Unopenable
from safedeploy.artifacts.torch import TorchArtifact, TorchWhiteBox, untouched
from safedeploy.attacks.membership import neural_black, neural_white
from safedeploy.errors import UserError
from safedeploy.methods.base import Context, Options
from safedeploy.seeds import derive, torch_generator
from safedeploy.training.augment import augment
from safedeploy.training.hooks import Hooks
from safedeploy.training.loop import Training

LEARNING_RATE = 1e-3  # of the attackers' Adam, as in both papers

AttackerName = Literal["black", "white"]


class GameOptions(Options):
    """Who plays against the model, how well, and what it counts for."""

    attacker: Literal["black", "white", "both"] = Field(
        "black", description="who plays against the model; white looks at its last layer's inputs and gradients too"
    )
    weight: float = Field(
        1.0, gt=0, description="λ: of the attackers' gain in the model's loss (Nasr et al.: 1 to 3; SafeCompress: 0.1)"
    )
    gain: Literal["log", "linear"] = Field(
        "log", description="of an attacker h on members: mean log h, the paper's equation, or mean h − ½, its code"
    )
    attacker_steps: int = Field(
        2, ge=1, description="steps that the attackers train for each of the model's (26 in Nasr et al.'s code)"
    )
    first_steps: int = Field(52, ge=1, description="steps that they train before the model first hears of them")
    start_epoch: int = Field(1, ge=0, description="epochs that are trained without the game")


@dataclass(frozen=True, eq=False)
class Attacker:
    """network: logits (b, classes), labels (b,), for white penultimate (b, features) → membership logit (b,)."""

    network: nn.Module
    optimizer: torch.optim.Adam


class AdversarialGame(Hooks):
    """min over f of CE(f) + λ · gain(h), where h maximises G (Nasr et al. 2018, algorithm 1).

    Attackers train after every step of the model, on members drawn from its training set and as many known non-members,
    both augmented as members are in training and both answered in evaluation mode, as what ships answers: an attacker
    that meets members augmented and non-members clean tells those apart, not membership. The model's loss has the
    members' half of the gain alone, as in algorithm 1: no gradient comes from a non-member. Of both attackers it has
    the sum (uncertain: SafeCompress says 'both' and no more).
    """

    def __init__(self, options: GameOptions, context: Context) -> None:
        self.options, self.context = options, context
        both: tuple[AttackerName, ...] = ("black", "white")
        self.names = both if options.attacker == "both" else (options.attacker,)
        if "white" in self.names:
            self.alone = "its attacker looks inside the model"
        self._attackers: dict[AttackerName, Attacker] = {}
        self._stored: dict[AttackerName, dict[str, Any]] = {}  # of a checkpoint, until the device is known
        self._met = 0  # the model's steps that the attackers have followed
        self._penultimate: Tensor | None = None
        self._found: dict[AttackerName, Tensor] = {}  # summed over the epoch's batches: balanced accuracy before a step
        self._batches = 0
        self._watch: Any = None

    def check(self, module: nn.Module) -> None:
        epochs, start = self.context.training.epochs, self.options.start_epoch
        if start >= epochs:
            raise UserError(
                f"start_epoch {start}: the game never begins in {epochs} epochs; choose {epochs - 1} or less"
            )
        if not len(self.context.nonmembers.y):
            raise UserError("no known non-members are there to train an attacker on: raise split.known")
        if "white" in self.names:
            self._last(module)

    def attach(self, training: Training) -> None:
        device = training.y.device
        for name, stored in self._stored.items():
            self._attackers[name] = self._attacker(name, stored["features"], device, stored)
        self._stored = {}
        if "white" in self.names:

            def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
                self._penultimate = inputs[0]

            self._watch = self._last(training.module).register_forward_pre_hook(keep)

    def loss_term(self, logits: Tensor, labels: Tensor, training: Training) -> Tensor | None:
        inputs = self._inputs(logits, labels)
        if not self._attackers:
            return None
        gains = [member_gain(self._score(name, inputs), self.options.gain) for name in self.names]
        return self.options.weight * torch.stack(gains).sum()

    def after_step(self, training: Training) -> None:
        """The attackers follow: a method that takes steps of its own between two calls owes them as many."""
        if training.step < self.options.start_epoch * training.steps_per_epoch:
            return
        owed = (
            self.options.attacker_steps * (training.step - self._met) if self._attackers else self.options.first_steps
        )
        for number in range(owed):
            self._ascend(training, number)
        self._met = training.step

    def after_epoch(self, training: Training) -> None:
        if self._batches:
            accuracy = {name: float(found) / self._batches for name, found in self._found.items()}
            training.log({"event": "game", "epoch": training.epoch, "attack_accuracy": accuracy})
        self._found, self._batches = {}, 0

    def finish(self, training: Training) -> None:
        if self._watch is not None:
            self._watch.remove()

    def state(self) -> dict[str, Any]:
        attackers = {
            name: {
                "network": attacker.network.state_dict(),
                "optimizer": attacker.optimizer.state_dict(),
                "features": _width(attacker.network),
            }
            for name, attacker in self._attackers.items()
        }
        return {"met": self._met, "attackers": attackers}

    def restore(self, state: dict[str, Any]) -> None:
        self._met, self._stored = state["met"], state["attackers"]

    def _ascend(self, training: Training, number: int) -> None:
        """One step of every attacker up its gain, on as many members as non-members."""
        device, seed = training.y.device, derive(self.context.seed, "adversary", training.step, number)
        generator = torch_generator(seed, "batch")
        half = min(training.recipe.batch_size, len(training.y), len(self.context.nonmembers.y))
        mine, theirs = (
            torch.randint(len(side), (half,), generator=generator) for side in (training.y, self.context.nonmembers.y)
        )
        known = self.context.nonmembers
        reference, labels = (torch.from_numpy(part)[theirs].to(device) for part in (known.x, known.y))
        mine = mine.to(device)
        x = torch.cat([training.inputs(mine), reference])
        if training.recipe.augment != "none":
            x = augment(x, training.recipe, torch_generator(seed, "augment"))
        with untouched(training.module, device), training.accelerator.autocast():
            inputs = self._inputs(training.module(x), torch.cat([training.y[mine], labels]))
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(derive(seed, "dropout"))
            for name in self.names:
                self._learn(name, inputs, device)
        self._batches += 1

    def _learn(self, name: AttackerName, inputs: tuple[Tensor, ...], device: torch.device) -> None:
        if name not in self._attackers:
            self._attackers[name] = self._attacker(name, inputs[2].shape[1] if name == "white" else 0, device)
        attacker = self._attackers[name]
        seen = inputs if name == "white" else inputs[:2]
        attacker.network.fit_scale(*seen)  # type: ignore[operator]
        attacker.network.requires_grad_(True).train()
        members, nonmembers = attacker.network(*seen).chunk(2)
        right = 0.5 * ((members > 0).float().mean() + (nonmembers <= 0).float().mean())
        self._found[name] = right if name not in self._found else self._found[name] + right
        attacker.optimizer.zero_grad(set_to_none=True)
        (-gain(members, nonmembers)).backward()  # type: ignore[no-untyped-call]
        attacker.optimizer.step()
        attacker.network.requires_grad_(False).eval()

    def _score(self, name: AttackerName, inputs: tuple[Tensor, ...]) -> Tensor:
        scores: Tensor = self._attackers[name].network(*(inputs if name == "white" else inputs[:2]))
        return scores

    def _inputs(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        """What attackers look at of the forward pass that was just made; it is not kept."""
        penultimate, self._penultimate = self._penultimate, None
        if penultimate is None:
            return logits.float(), labels
        return logits.float(), labels, penultimate.float().flatten(1)

    def _attacker(
        self, name: AttackerName, features: int, device: torch.device, stored: dict[str, Any] | None = None
    ) -> Attacker:
        classes, seed = self.context.classes, derive(self.context.seed, "adversary")
        network: nn.Module = (
            neural_black.make_network(classes, seed)
            if name == "black"
            else neural_white.make_network(classes, features, seed)
        )
        network.to(device).requires_grad_(False).eval()
        optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, fused=True)
        if stored:
            network.load_state_dict(stored["network"])
            optimizer.load_state_dict(stored["optimizer"])
        return Attacker(network, optimizer)

    def _last(self, module: nn.Module) -> nn.Linear:
        """Raises UserError where the white-box attacker cannot look inside."""
        artifact = TorchArtifact(module, "model", self.context.input_shape, self.context.classes)
        try:
            return TorchWhiteBox(artifact).last
        except Unopenable as closed:
            raise UserError(f"no white-box attacker can play: {closed}; use attacker=black") from None


def gain(members: Tensor, nonmembers: Tensor) -> Tensor:
    """G(h) = E_D log h + E_D' log(1 − h) of membership logits (b,), with h their sigmoid (Nasr et al. 2018: the gain).

    At most 0; −2 log 2 where nobody can tell; twice the negative mean binary cross-entropy.
    """
    return functional.logsigmoid(members).mean() + functional.logsigmoid(-nonmembers).mean()


def member_gain(members: Tensor, form: Literal["log", "linear"]) -> Tensor:
    """The members' half, of membership logits (b,): E_D log h, or the released code's E_D h − ½."""
    return functional.logsigmoid(members).mean() if form == "log" else members.sigmoid().mean() - 0.5


def _width(network: nn.Module) -> int:
    return network.standardise_features.std.numel() if isinstance(network, neural_white.Network) else 0
