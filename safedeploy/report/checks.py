"""What `safedeploy verify` found of a bundle, as a table a file and a sentence of what failed or could not be made."""

from collections.abc import Sequence

from safedeploy.report import words
from safedeploy.report.evidence_tables import Table
from safedeploy.report.table import Cell
from safedeploy.results import FileVerification, Verification

HEADS = ("File", "Checks", "Accuracy in its runtime", "Trained model", "Odd batch sizes", "Unusual inputs", "Saturated")


def checks_table(found: Verification) -> Table:
    return Table(HEADS, tuple(_row(file) for file in found.files))


def checks_sentence(found: Verification) -> str:
    """The bundle's verdict, and every check that failed or was not made."""
    told = f"{words.plural(found.samples, 'real input')} ({found.inputs}), none of which set an int8 range. "
    if found.failures:
        return f"{told}Failed: {'; '.join(found.failures)}."
    unmade = f" Not checked: {'; '.join(found.not_checked)}." if found.not_checked else ""
    return f"{told}Every check that could be made passed.{unmade}"


def _row(file: FileVerification) -> tuple[Cell, ...]:
    made = [one for one in file.outcomes if one.passed is not None]
    failed = [one.check for one in made if not one.passed]
    passed = Cell(
        f"{len(made) - len(failed)} of {len(made)} passed", note=f"failed: {', '.join(failed)}" if failed else ""
    )
    return (Cell(file.name), passed, *_accuracies(file), _batches(file), _extremes(file), _saturation(file))


def _accuracies(file: FileVerification) -> tuple[Cell, Cell]:
    if (one := file.answers) is None:
        return _unmade(), _unmade()
    own, trained = (
        Cell(words.percent(value, 2), words.percent_interval(low, high))
        for value, low, high in (
            (one.accuracy, one.accuracy_low, one.accuracy_high),
            (one.torch_accuracy, one.torch_accuracy_low, one.torch_accuracy_high),
        )
    )
    return own, trained


def _batches(file: FileVerification) -> Cell:
    if not file.batches:
        return _unmade()
    sizes = ", ".join(str(one.size) for one in file.batches)
    known = [one.max_logit_difference for one in file.batches if one.max_logit_difference is not None]
    apart = words.three(max(known)) if len(known) == len(file.batches) else "not finite"
    return Cell(f"apart by {apart}", note=f"in batches of {sizes}")


def _extremes(file: FileVerification) -> Cell:
    if not file.extremes:
        return _unmade()
    return Cell(_counted([one.answers for one in file.extremes]))


def _counted(answers: Sequence[str]) -> str:
    return ", ".join(f"{answers.count(answer)} {answer}" for answer in dict.fromkeys(answers))


def _saturation(file: FileVerification) -> Cell:
    if (one := file.saturation) is None:
        return Cell("not rounded", known=False) if ".int8." not in file.name else _unmade()
    return Cell(words.percent(one.activations, 3), note=f"most: {words.percent(one.worst_share, 2)} of {one.worst}")


def _unmade() -> Cell:
    return Cell("not checked", known=False)
