"""Claims about what a report gathers from a run's files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from safedeploy.errors import UserError
from safedeploy.recipe import Recipe
from safedeploy.report.contents import Contents, ModelResults, read_run, strongest
from safedeploy.results import Evidence
from safedeploy.rundir import RunDir


def write_model(run: RunDir, model: ModelResults) -> None:
    assert model.summary is not None
    assert model.manifest is not None
    model.summary.write(run.summary)
    model.manifest.write(run.bundle("android") / "manifest.json")
    for name, evidence in model.evidence.items():
        evidence.write(run.evidence("android", name))
    for name, timing in model.timing.items():
        timing.write(run.timing("android", name))


def write_run(root: Path, contents: Contents) -> RunDir:
    run = RunDir(root)
    Recipe(name="fashion").write(run.recipe)
    write_model(run, contents.models[0])
    write_model(run.control, contents.models[1])
    return run


def test_a_run_on_disk_comes_back_whole(tmp_path: Path, contents: Contents) -> None:
    run = write_run(tmp_path / "fashion", contents)

    found = read_run(run)

    assert found.title == "fashion"
    assert found.recipe_toml == run.recipe.read_text()
    assert [model.label for model in found.models] == ["safecompress, density 0.05", "dense control"]
    for read, written in zip(found.models, contents.models, strict=True):
        assert (read.summary, read.manifest) == (written.summary, written.manifest)
        assert (read.evidence, read.timing) == (dict(written.evidence), dict(written.timing))
    assert found.versions["onnxruntime"] == "1.31.0"


def test_a_run_that_is_only_a_recipe_is_contents_with_gaps(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "fashion")
    Recipe(name="fashion").write(run.recipe)

    found = read_run(run)

    assert len(found.models) == 1
    assert found.dense is None
    assert found.headline is None
    assert found.files == ()
    assert found.shipped.command("export") == f"safedeploy export {run.root.as_posix()} --target android"


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run"):
        read_run(RunDir(tmp_path))


def test_a_spoilt_result_file_is_named(tmp_path: Path, contents: Contents) -> None:
    run = write_run(tmp_path / "fashion", contents)
    (run.evidence("android", "model.onnx")).write_text('{"schema": 1}')

    with pytest.raises(UserError, match=r"model\.onnx\.json is not a Evidence file") as caught:
        read_run(run)
    assert "\n" not in str(caught.value)


def test_a_target_of_ones_own_is_found_by_its_only_bundle(tmp_path: Path, contents: Contents) -> None:
    run = write_run(tmp_path / "fashion", contents)
    Recipe(name="fashion", target="own/phone.toml").write(run.recipe)

    assert read_run(run).shipped.manifest == contents.shipped.manifest


def test_the_verdict_rests_on_the_worst_outcome_and_not_on_the_highest_auc(
    contents: Contents, make_evidence: Callable[..., Evidence]
) -> None:
    loose = make_evidence("model.onnx", leak=1.0, budget={"auc": 0.99})
    strict = make_evidence("model.pte", leak=0.4, budget={"auc": 0.51})
    shipped = replace(contents.shipped, evidence={"model.onnx": loose, "model.pte": strict})

    assert loose.verdict.outcome == "pass"
    assert strict.verdict.outcome == "fail"
    assert replace(contents, models=(shipped,)).headline == "model.pte"


def test_among_equal_outcomes_the_verdict_rests_on_the_highest_auc(contents: Contents) -> None:
    highest = {name: max(attack.auc for attack in one.attacks) for name, one in contents.shipped.evidence.items()}

    assert {one.verdict.outcome for one in contents.shipped.evidence.values()} == {"pass"}
    assert contents.headline == max(highest, key=highest.__getitem__)


def test_a_dense_model_without_an_audit_of_its_own_is_read_from_the_evidence(contents: Contents) -> None:
    alone = replace(contents, models=(contents.shipped, replace(contents.models[1], evidence={})))

    own, carried = contents.dense_audit("model.onnx"), alone.dense_audit("model.onnx")

    assert own is not None
    assert carried is not None
    assert strongest(own.attacks) == strongest(carried.attacks)


def test_an_audit_of_other_bytes_than_the_bundle_holds_is_noticed(contents: Contents) -> None:
    manifest = contents.shipped.manifest
    assert manifest is not None
    assert contents.shipped.stale == ()
    files = [one.model_copy(update={"sha256": "0" * 64}) if one.name == "model.pte" else one for one in manifest.files]

    changed = replace(contents.shipped, manifest=manifest.model_copy(update={"files": files}))

    assert changed.stale == ("model.pte",)
