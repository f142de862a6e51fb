"""`crossfit`: cross-fitted distillation. Members fall into folds, each fold has a teacher that trained on the others,
and a member is taught that teacher's answer: nothing it learns was determined by its own example.

The idea is Split-AI with self-distillation, SELENA (Tang et al., USENIX Security 2022), with folds in place of random
subsets. Why it hides members: with `weight` 1 a member's target is a function of its input and the others alone.

What is left to an attacker is that a student's answer on a member is a teacher's, and its answer on a stranger its own.
With two `generations` teachers are cross-fitted students themselves, and the two are drawn alike.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from safedeploy.data.samples import content_digests
from safedeploy.data.split import Indices
from safedeploy.errors import UserError
from safedeploy.methods.base import Context, Options
from safedeploy.methods.defences.taught import mixed
from safedeploy.models.init import initial_model
from safedeploy.recipe import ModelRecipe, TrainingRecipe
from safedeploy.seeds import derive, numpy_generator
from safedeploy.training.evaluate import predict
from safedeploy.training.group import Job, groups, train_group
from safedeploy.training.hooks import Hooks
from safedeploy.training.loop import Training


class CrossFitOptions(Options):
    """Who teaches, and how much of the lesson is the teacher's."""

    folds: int = Field(5, ge=2, description="teachers, each trained on all members but one fold")
    repeats: int = Field(
        1, ge=1, description="times that folds are drawn, each with teachers of its own whose answers are averaged"
    )
    generations: int = Field(
        1, ge=1, description="2: teachers are taught so themselves, and the student fits answers like its own"
    )
    weight: float = Field(
        1.0, gt=0, le=1, description="the teacher's share of what is taught; the rest is the label, which leaks"
    )
    temperature: float = Field(1.0, gt=0, description="what the teacher's logits are divided by")
    teacher_model: str | None = Field(None, description="a model for the teachers; by default the run's own, dense")
    teacher_epochs: int | None = Field(None, ge=1, description="of the teachers' training; by default the recipe's")


class CrossFit(Hooks):
    """The teachers train in `begin`, by the run's own recipe and dense: a kill before it ends loses what they did."""

    def __init__(self, options: CrossFitOptions, context: Context) -> None:
        self.options, self.context, self.seed = options, context, context.seed
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
        told = self._telling(training, recipe)
        lessons, right = [], []
        for repeat in range(self.options.repeats):
            fold = divide(digests, self.options.folds, derive(self.seed, "folds", repeat))
            answers = self._answers(x, training.y, fold, recipe, derive(self.seed, "teachers", repeat), told)
            lessons.append(mixed(answers, training.y, self.options.weight, self.options.temperature))
            right.append(float((answers.argmax(1) == training.y).double().mean()))
        training.targets = torch.stack(lessons).mean(0)
        training.log({"event": "teachers", "folds": self.options.folds, "accuracy_out_of_fold": right})

    def _telling(self, training: Training, recipe: TrainingRecipe) -> Callable[[int], None]:
        """Hears of teachers' steps and tells how far the whole training is."""
        share = (self.options.folds - 1) / self.options.folds
        each = recipe.epochs * max(1, int(share * len(training.y)) // recipe.batch_size)
        teachers, done = self.options.repeats * self.options.folds, 0
        ahead, work = teachers * each, sum(teachers**level for level in range(1, self.options.generations + 1)) * each
        training.beginning = work / (work + training.total_steps)

        def told(steps: int) -> None:
            nonlocal done
            done += steps
            training.tell(training.beginning * min(1.0, done / ahead))

        return told

    def _answers(
        self, x: Tensor, y: Tensor, fold: Indices, recipe: TrainingRecipe, seed: int, told: Callable[[int], None]
    ) -> Tensor:
        """Logits (n, classes), each member's from the teacher that never saw it."""
        jobs = [self._job(fold != number, derive(seed, number)) for number in range(self.options.folds)]
        answers = x.new_empty(len(y), self.classes)
        for group in groups(jobs, recipe, x.device.type):
            try:
                train_group([jobs[number] for number in group], (x, y), recipe, told)
            except UserError as error:
                raise UserError(f"--defence crossfit, its teachers: {error}") from None
            for number in group:
                unseen = torch.from_numpy(np.flatnonzero(fold == number)).to(x.device)
                teacher = jobs[number].module.to(x.device)
                answers[unseen] = predict(teacher, x[unseen]).float()
                teacher.cpu()
        return answers

    def _job(self, inside: NDArray[np.bool_], seed: int) -> Job:
        module = initial_model(self.model, self.input_shape, self.classes, seed)
        hooks = Hooks()
        if self.options.generations > 1:
            taught = self.options.model_copy(update={"generations": self.options.generations - 1})
            hooks = CrossFit(taught, replace(self.context, seed=seed))
        return Job(module, np.flatnonzero(inside), hooks, seed)


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
