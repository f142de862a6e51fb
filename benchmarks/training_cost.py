"""What the one loop costs: each method without selection against a plain PyTorch loop that does the same steps on the
same model, paired in one process and alternating; ratios of CPU time.

python -m benchmarks.training_cost --data location30 fashion-mnist --data-root DIR --epochs 3 --repeats 7

The plain loop is what a tutorial has: shuffled batches, forward, the loss (cross-entropy, or the defence's own, from
plain_losses.py), backward, torch's SGD with momentum, the falling learning rate, accuracy on the validation role after
each epoch, kernels as torch chooses them (ours are deterministic). For `dpsgd` it is Opacus' own: `make_private` and
its data loader. Both have one thread. A ratio's spread is the lowest and the highest of the pairs.
"""

import gc
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import process_time

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.common import parser, report
from benchmarks.plain_losses import LOSSES, cross_entropy
from safedeploy.compose import make_recipe
from safedeploy.compression import Examples, fresh, prepared
from safedeploy.data.split import MEMBERS
from safedeploy.recipe import Recipe
from safedeploy.threads import limited
from safedeploy.training.hooks import Hooks
from safedeploy.training.run import run_training

Data = tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]  # members and validation
METHODS = ("dense", "magnitude", "set", "rigl", "mcmia", "reweighted")
DEFENCES = {
    "label-smoothing": {},
    "relaxloss": {},
    "ppb": {},
    "hamp": {},
    "early-stop": {"epochs": None},
    "dpsgd": {"noise_multiplier": 1.0, "accountant": "rdp"},
}


def optimiser(module: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    training = recipe.training
    return torch.optim.SGD(
        module.parameters(),
        lr=training.learning_rate,
        momentum=training.momentum,
        weight_decay=training.weight_decay,
        nesterov=training.momentum > 0,
    )


def epoch_end(module: nn.Module, validation: tuple[Tensor, Tensor]) -> float:
    module.eval()
    with torch.no_grad():
        found = torch.cat([module(part).argmax(1) for part in torch.split(validation[0], 1024)])
    module.train()
    return float((found == validation[1]).double().mean())


def plain(module: nn.Module, recipe: Recipe, data: Data) -> None:
    """Shuffled batches, of which the last, smaller one is dropped."""
    (x, y), validation = data
    loss_of = next((LOSSES[name] for name in recipe.method.defences if name in LOSSES), cross_entropy)
    training, size = recipe.training, recipe.training.batch_size
    torch.manual_seed(recipe.seed)
    optimizer = optimiser(module, recipe)
    marks = [round(share * training.epochs) for share in training.milestones]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, marks, 0.1)
    module.train()
    for epoch in range(training.epochs):
        order = torch.randperm(len(y))
        for start in range(0, len(y) - size + 1, size):
            chosen = order[start : start + size]
            loss = loss_of(module(x[chosen]), y[chosen], epoch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
        epoch_end(module, validation)


def plain_private(module: nn.Module, recipe: Recipe, data: Data) -> None:
    """Opacus' own loop, with Poisson batches."""
    from opacus import PrivacyEngine

    (x, y), validation = data
    torch.manual_seed(recipe.seed)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=recipe.training.batch_size)
    wrapped, optimizer, private = PrivacyEngine(accountant="rdp").make_private(
        module=module.train(),
        optimizer=optimiser(module, recipe),
        data_loader=loader,
        noise_multiplier=1.0,
        max_grad_norm=1.0,
    )
    for _ in range(recipe.training.epochs):
        for inputs, labels in private:
            optimizer.zero_grad()
            functional.cross_entropy(wrapped(inputs), labels).backward()
            optimizer.step()
        epoch_end(wrapped, validation)


def ours(module: nn.Module, hooks: Hooks, recipe: Recipe, data: Data) -> None:
    members, validation = data
    with tempfile.TemporaryDirectory() as folder:
        files = {"metrics": Path(folder) / "metrics.jsonl", "checkpoints": Path(folder) / "checkpoints"}
        run_training(module, members, validation, hooks, recipe.training, recipe.seed, **files)


def seconds(work: Callable[[], None]) -> float:
    """CPU seconds on one thread; what earlier work left is collected before, not during."""
    gc.collect()
    torch.use_deterministic_algorithms(False)  # our loop sets it for itself, and for good
    with limited(1):
        start = process_time()
        work()
        return process_time() - start


def measure(wanted: Recipe, data: Data, examples: Examples, repeats: int) -> dict[str, float]:
    baseline = plain_private if "dpsgd" in wanted.method.defences else plain
    pairs = []
    for number in range(repeats + 1):
        (mine, hooks), (theirs, _) = (fresh(wanted, examples) for _ in range(2))
        runs = [lambda m=mine, h=hooks: ours(m, h, wanted, data), lambda m=theirs: baseline(m, wanted, data)]
        first = number % 2  # who begins takes turns
        taken = {who: seconds(runs[who]) for who in (first, 1 - first)}
        pairs.append((taken[0], taken[1]))
    pairs = pairs[1:]  # the first pair pays for what is imported and allocated once
    ratios = [mine / theirs for mine, theirs in pairs]
    return {
        "plain_seconds": median(theirs for _, theirs in pairs),
        "seconds": median(mine for mine, _ in pairs),
        "ratio": median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
    }


def cells(data: str, root: str | None, epochs: int, only: list[str] | None) -> list[tuple[str, Recipe]]:
    """Methods, and `dense` with each defence."""
    same = {"data": data, "data_root": root, "epochs": epochs, "device": "cpu"}
    wanted = [(name, make_recipe(**same, method=name)) for name in METHODS]
    for name, options in DEFENCES.items():
        given = {f"{name}.{key}": epochs if value is None else value for key, value in options.items()}
        wanted.append((f"dense + {name}", make_recipe(**same, method="dense", defences=[name], options=given)))
    return [(name, recipe) for name, recipe in wanted if only is None or name.rpartition(" ")[2] in only]


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--data", nargs="+", default=["digits"])
    options.add_argument("--only", nargs="+", help="methods and defences")
    options.add_argument("--epochs", type=int, default=3)
    options.add_argument("--repeats", type=int, default=7)
    given = options.parse_args()
    rows = []
    for data in given.data:
        wanted_here = cells(data, given.data_root, given.epochs, given.only)
        examples, _, _ = prepared(wanted_here[0][1], None)
        parts = (examples.samples(*MEMBERS), examples.samples("validation"))
        tensors = tuple((torch.from_numpy(part.x), torch.from_numpy(part.y)) for part in parts)
        for name, wanted in wanted_here:
            found = measure(wanted, tensors, examples, given.repeats)
            against = "Opacus' loop" if "dpsgd" in name else "plain loop"
            rows.append({"data": data, "method": name, "against": against, **found, "repeats": given.repeats})
            print(f"{data}, {name}: {found['ratio']:.3f}", file=sys.stderr)
    report(rows, given.json)


if __name__ == "__main__":
    main()
