"""What a report shows: the result files of a run and of its dense control, gathered; any of them may be missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from safedeploy.recipe import Recipe, read_recipe
from safedeploy.results import (
    AttackEvidence,
    DenseControl,
    Evidence,
    Manifest,
    ResultFile,
    Summary,
    Timing,
    Verification,
)
from safedeploy.rundir import RunDir, open_run

AnyResult = TypeVar("AnyResult", bound=ResultFile)

FILE_ORDER = ("model.onnx", "model.int8.onnx", "model.pte", "model.int8.pte")
SEVERITY = ("fail", "inconclusive", "none", "pass")


@dataclass(frozen=True)
class ModelResults:
    """One model's results; `evidence` and `timing` are keyed by bundle file name.

    `run` and `target` serve the hints at what to run for a missing result.
    """

    label: str
    summary: Summary | None
    manifest: Manifest | None
    evidence: Mapping[str, Evidence]
    timing: Mapping[str, Timing]
    run: str = "RUN"
    target: str = "android"
    verification: Verification | None = None

    @property
    def stale(self) -> tuple[str, ...]:
        """Files whose audit or timing is of other bytes than the manifest names."""
        hashes = {file.name: file.sha256 for file in self.manifest.files} if self.manifest else {}
        results: list[tuple[str, Evidence | Timing]] = [*self.evidence.items(), *self.timing.items()]
        return tuple(
            sorted(
                {name for name, result in results if hashes.get(name, result.artifact.sha256) != result.artifact.sha256}
            )
        )

    def command(self, step: str, file: str = "") -> str:
        """What to type to get the missing result of `step` (compress, export, audit or bench)."""
        if step == "compress":
            return f"safedeploy compress --resume {self.run}"
        if step == "export":
            return f"safedeploy export {self.run} --target {self.target}"
        return f"safedeploy {step} {self.run}/bundle/{self.target}/{file}"


@dataclass(frozen=True)
class Contents:
    """A whole report; the first model is the one that ships, a second one its dense control."""

    title: str
    recipe_toml: str
    models: tuple[ModelResults, ...]
    versions: Mapping[str, str]

    @property
    def shipped(self) -> ModelResults:
        return self.models[0]

    @property
    def dense(self) -> ModelResults | None:
        return self.models[1] if len(self.models) > 1 else None

    @property
    def files(self) -> tuple[str, ...]:
        """Every bundle file there is a result for, in a fixed order."""
        names: set[str] = set()
        for model in self.models:
            names.update(model.evidence, (file.name for file in model.manifest.files) if model.manifest else ())
        known = [name for name in FILE_ORDER if name in names]
        return (*known, *sorted(names.difference(known)))

    @property
    def headline(self) -> str | None:
        """The shipped file the verdict rests on: the worst outcome, then the highest AUC; None before any audit."""

        def rank(name: str) -> tuple[int, float, str]:
            evidence = self.shipped.evidence[name]
            worst = strongest(evidence.attacks)
            return SEVERITY.index(evidence.verdict.outcome), -(worst.auc if worst else 0.0), name

        return min(self.shipped.evidence, key=rank, default=None)

    def dense_audit(self, file: str) -> Evidence | DenseControl | None:
        """The dense control's audit of `file`: its own, or else what the shipped file's evidence carries of it."""
        if self.dense is not None and file in self.dense.evidence:
            return self.dense.evidence[file]
        shipped = self.shipped.evidence.get(file)
        return shipped.controls.dense if shipped else None


def strongest(attacks: Sequence[AttackEvidence]) -> AttackEvidence | None:
    """The attack of highest AUC."""
    return max(attacks, key=lambda attack: attack.auc, default=None)


def decisive(evidence: Evidence) -> AttackEvidence | None:
    """The attack the verdict names: under a budget on a rate it need not be the one of highest AUC."""
    return next((attack for attack in evidence.attacks if attack.name == evidence.verdict.worst_attack), None)


def read_run(run: RunDir) -> Contents:
    """The contents of a run from its files. Raises UserError where the run or one of its files cannot be read."""
    recipe = read_recipe(open_run(run.root).recipe)
    shipped = _read_model(run, recipe, f"{recipe.method.name}, density {recipe.method.density:g}")
    models = [shipped]
    if run.control.root.is_dir():
        models.append(_read_model(run.control, recipe, "dense control"))
    return Contents(
        title=recipe.name,
        recipe_toml=run.recipe.read_text(encoding="utf-8"),
        models=tuple(models),
        versions=_versions(shipped),
    )


def _read_model(run: RunDir, recipe: Recipe, label: str) -> ModelResults:
    manifest = _read_manifest(run, recipe.target)
    target = manifest.target if manifest else recipe.target
    return ModelResults(
        label=label,
        summary=_read_if_there(Summary, run.summary),
        manifest=manifest,
        evidence=_read_folder(Evidence, run.audits(target)),
        timing=_read_folder(Timing, run.benches(target)),
        run=run.root.as_posix(),
        target=target,
        verification=_read_if_there(Verification, run.verification(target)),
    )


def _read_manifest(run: RunDir, target: str) -> Manifest | None:
    """The manifest of the recipe's target; where that is a user's own file, of the only bundle there is."""
    own = _read_if_there(Manifest, run.bundle(target) / "manifest.json")
    found = sorted((run.root / "bundle").glob("*/manifest.json"))
    return Manifest.read(found[0]) if own is None and len(found) == 1 else own


def _read_if_there(kind: type[AnyResult], path: Path) -> AnyResult | None:
    return kind.read(path) if path.is_file() else None


def _read_folder(kind: type[AnyResult], folder: Path) -> dict[str, AnyResult]:
    paths = [path for path in sorted(folder.glob("*.json")) if not path.name.endswith(".agreement.json")]
    return {path.name.removesuffix(".json"): kind.read(path) for path in paths}


def _versions(model: ModelResults) -> dict[str, str]:
    """Versions of every stage; a package that changed between stages shows all of its versions."""
    found: dict[str, list[str]] = {}
    stages = [model.summary, model.manifest, *model.evidence.values()]
    for stage in stages:
        for package, version in (stage.versions if stage else {}).items():
            if version not in found.setdefault(package, []):
                found[package].append(version)
    return {package: ", ".join(found[package]) for package in sorted(found)}
