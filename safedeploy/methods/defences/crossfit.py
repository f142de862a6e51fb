"""`crossfit`: cross-fitted distillation. Members fall into folds, each fold has a teacher that trained on the others,
and a member is taught that teacher's answer: nothing it learns was determined by its own example.

The idea is Split-AI with self-distillation, SELENA (Tang et al., USENIX Security 2022), with folds in place of random
subsets. Why it hides members: with `weight` 1 a member's target is a function of its input and the others alone.

What is left to an attacker (docs/methods.md): a member's neighbours are taught by teachers that know its label, the
fewer the fewer `folds` there are; and its own answer is a teacher's, or a mean of better ones, where a stranger's is a
student's. With two `generations` teachers are cross-fitted students themselves: of each pair of folds a first teacher
saw neither, so the label is two lessons away, and both answers are students'.
"""

from collections import defaultdict
from collections.abc import Callable
from itertools import combinations
from math import comb

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from safedeploy.data.samples import content_digests
from safedeploy.data.split import Indices
from safedeploy.errors import UserError
from safedeploy.methods.base import Context, Options
from safedeploy.methods.defences.taught import Taught, mixed
from safedeploy.models.init import initial_model
from safedeploy.recipe import ModelRecipe, TrainingRecipe
from safedeploy.seeds import derive, numpy_generator
from safedeploy.training.evaluate import predict
from safedeploy.training.hooks import Hooks
from safedeploy.training.loop import Training
from safedeploy.training.many import train_many

Lessons = dict[tuple[int, ...], Tensor]  # (n, classes), for who sees none of these folds


class CrossFitOptions(Options):
    """Who teaches, and how much of the lesson is the teacher's."""

    folds: int = Field(
        2, ge=2, description="teachers, each trained on all members but one fold: of two, half of them know a label"
    )
    repeats: int = Field(
        2, ge=1, description="times that folds are drawn, each with teachers of its own whose answers are averaged"
    )
    generations: int = Field(
        1, ge=1, description="2: teachers are taught so themselves, and the student fits answers like its own"
    )
    weight: float = Field(
        1.0, gt=0, le=1, description="the teacher's share of what is taught; the rest is the label, which leaks"
    )
    temperature: float = Field(1.0, gt=0, description="what the teacher's logits are divided by")
    weight_decay: float = Field(
        0.0,
        ge=0,
        description="of who is taught, in place of the recipe's: who does not fit a member's own lesson answers as its"
        " neighbours' teachers do, and those know its label",
    )
    teacher_model: str | None = Field(None, description="a model for the teachers; by default the run's own, dense")
    teacher_epochs: int | None = Field(None, ge=1, description="of the teachers' training; by default the recipe's")

    @model_validator(mode="after")
    def _someone_is_left(self) -> "CrossFitOptions":
        if self.generations >= self.folds:
            raise ValueError(f"generations {self.generations} want more than {self.folds} folds: raise crossfit.folds")
        return self


class CrossFit(Hooks):
    """The teachers train in `begin`, by the run's own recipe and dense: a kill before it ends loses what they did."""

    def __init__(self, options: CrossFitOptions, context: Context) -> None:
        self.options, self.seed, self.weight_decay = options, context.seed, options.weight_decay
        self.classes, self.input_shape = context.classes, context.input_shape
        other = options.teacher_model
        self.model = context.model if other is None else ModelRecipe(name=other)

    def check(self, module: nn.Module) -> None:
        if self.options.teacher_model is not None:
            initial_model(self.model, self.input_shape, self.classes, self.seed)

    def begin(self, training: Training) -> None:
        x = training.inputs(torch.arange(len(training.y), device=training.y.device))
        digests = content_digests(x.numpy(force=True))
        recipe = training.recipe
        if self.options.teacher_epochs is not None:
            recipe = recipe.model_copy(update={"epochs": self.options.teacher_epochs})
        repeats = range(self.options.repeats)
        folds = [divide(digests, self.options.folds, derive(self.seed, "folds", repeat)) for repeat in repeats]
        lessons: list[Lessons] = [{} for _ in repeats]
        for level, progress in self._levels(training, recipe):
            lessons = self._level(level, lessons, folds, (x, training.y), recipe, progress)
        targets = [taught[()] for taught in lessons]
        training.targets = torch.stack(targets).mean(0)
        right = [float((taught.argmax(1) == training.y).double().mean()) for taught in targets]
        training.log({"event": "teachers", "folds": self.options.folds, "accuracy_out_of_fold": right})

    def _levels(self, training: Training, recipe: TrainingRecipe) -> list[tuple[int, Callable[[float], None]]]:
        """How many folds the teachers of each generation leave out, the first first, and who hears how far it is."""
        folds, members, batch = self.options.folds, len(training.y), recipe.batch_size
        levels = range(self.options.generations, 0, -1)
        each = [max(1, members * (folds - level) // folds // batch) * recipe.epochs for level in levels]
        steps = [self.options.repeats * comb(folds, level) * its for level, its in zip(levels, each, strict=True)]
        whole = sum(steps) + training.total_steps
        training.beginning = sum(steps) / whole

        def heard(before: int, its: int) -> Callable[[float], None]:
            return lambda share: training.tell((before + its * share) / whole)

        return [(level, heard(sum(steps[:k]), steps[k])) for k, level in enumerate(levels)]

    def _level(
        self,
        level: int,
        lessons: list[Lessons],
        folds: list[Indices],
        pool: tuple[Tensor, Tensor],
        recipe: TrainingRecipe,
        progress: Callable[[float], None],
    ) -> list[Lessons]:
        """Train one teacher for every `level` folds that it does not see; what those are taught who see one more.

        Of all repeats at once. A member of fold i is answered, for a student without the folds S, by the teacher
        without S and i, which was taught as this student is.
        """
        x, y = pool
        unseen = [
            (repeat, out) for repeat in range(len(folds)) for out in combinations(range(self.options.folds), level)
        ]
        seeds = [derive(derive(self.seed, "teachers", repeat), *out) for repeat, out in unseen]
        modules = [initial_model(self.model, self.input_shape, self.classes, seed) for seed in seeds]
        rows = [np.flatnonzero(~np.isin(folds[repeat], out)) for repeat, out in unseen]
        hooks = [
            Taught(lessons[repeat][out][members], self.options.weight_decay) if out in lessons[repeat] else Hooks()
            for (repeat, out), members in zip(unseen, rows, strict=True)
        ]
        try:
            train_many(modules, pool, rows, hooks, recipe, seeds, progress=progress)
        except UserError as error:
            raise UserError(f"--defence crossfit, its teachers: {error}") from None
        answers: list[Lessons] = [defaultdict(lambda: x.new_empty(len(y), self.classes)) for _ in folds]
        for (repeat, out), module in zip(unseen, modules, strict=True):
            teacher = module.to(x.device)
            for number in out:
                its = torch.from_numpy(np.flatnonzero(folds[repeat] == number)).to(x.device)
                fewer = tuple(other for other in out if other != number)
                answers[repeat][fewer][its] = predict(teacher, x[its]).float()
            teacher.cpu()
        weight, temperature = self.options.weight, self.options.temperature
        return [{out: mixed(logits, y, weight, temperature) for out, logits in its.items()} for its in answers]


def divide(digests: NDArray[np.bytes_], folds: int, seed: int) -> Indices:
    """The fold (n,) of each member, by seed and position; copies of one example share the fold of the first.

    Labels have no say, so classes are balanced by chance alone: where they chose folds, a label would choose its own
    teacher. Raises UserError where a fold would be empty.
    """
    _, first, which = np.unique(digests, return_index=True, return_inverse=True)
    drawn = np.empty(len(digests), dtype=np.int64)
    order = numpy_generator(seed, "folds").permutation(len(digests))
    drawn[order] = np.arange(len(digests)) % folds
    fold: Indices = drawn[first[which]]
    if len(np.unique(fold)) < folds:
        raise UserError(f"--defence crossfit: {folds} folds of {len(first)} distinct members; lower crossfit.folds")
    return fold


def make(options: CrossFitOptions, context: Context) -> Hooks:
    return CrossFit(options, context)
