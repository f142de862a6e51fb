"""The whole road on one tiny run: what ships is what is attacked, and it carries nothing of the training data."""

import functools
import io
import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.numpy import load_file

import safedeploy
from safedeploy.attacks.membership import neural
from safedeploy.bench import protocol
from safedeploy.compression import load_examples
from safedeploy.data.load import load_dataset
from safedeploy.data.samples import content_hashes
from safedeploy.data.split import ROLES, read_split
from safedeploy.errors import UserError
from safedeploy.pipeline import exam_of_run
from safedeploy.recipe import DataRecipe, read_recipe
from safedeploy.results import Evidence, Manifest, Summary, Timing
from safedeploy.rundir import RunDir


@pytest.fixture(scope="module")
def bundle(shipped_run) -> Path:
    return shipped_run / "bundle" / "pair"


@pytest.fixture(scope="module")
def audits(bundle) -> dict[str, Evidence]:
    """By every attack; the neural ones, most of the time, train for a tenth of their epochs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neural, "fit", functools.partial(neural.fit, fitting=neural.Fitting(epochs=10)))
        return {name: safedeploy.audit(bundle / name, budget={"auc": 0.95}) for name in ("model.onnx", "model.pte")}


def test_compress_leaves_the_files_of_a_run(trained_run):
    run = RunDir(trained_run)
    assert all(path.is_file() for path in (run.recipe, run.split, run.weights, run.metrics, run.summary))


def test_the_summary_counts_every_example_once(trained_run):
    roles = Summary.read(RunDir(trained_run).summary).roles
    assert set(roles) == set(ROLES)
    assert sum(roles.values()) == 1797  # the digits of scikit-learn


def test_the_masks_meet_the_density_exactly_and_the_summary_counts_what_is_not_zero(trained_run):
    stored = load_file(trained_run / "model.safetensors")
    masks = {name.removeprefix("mask:"): mask for name, mask in stored.items() if name.startswith("mask:")}
    assert sum(int(mask.sum()) for mask in masks.values()) == round(0.3 * sum(mask.size for mask in masks.values()))
    summary = Summary.read(RunDir(trained_run).summary)
    assert {layer.name: layer.kept for layer in summary.layers} == {
        name: np.count_nonzero(stored[name]) for name in masks
    }
    assert all((stored[name][~mask] == 0).all() for name, mask in masks.items())


def test_rerunning_the_resolved_recipe_gives_the_same_weights_bit_for_bit(trained_run, tmp_path):
    again = safedeploy.compress(read_recipe(trained_run / "recipe.toml"), tmp_path)
    assert again.weights.read_bytes() == (trained_run / "model.safetensors").read_bytes()
    assert again.metrics.read_bytes() == (trained_run / "metrics.jsonl").read_bytes()


def test_the_loaded_model_is_the_one_that_ships(shipped_run, bundle):
    x = load_examples(RunDir(shipped_run)).samples("test").x
    with torch.no_grad():
        reference = safedeploy.load(shipped_run)(torch.from_numpy(x)).numpy()
    session = onnxruntime.InferenceSession(bundle / "model.onnx")
    answers = session.run(None, {session.get_inputs()[0].name: x})[0]
    assert np.abs(answers - reference).max() < 1e-4 * np.abs(reference).max()


def test_the_manifest_names_the_files_by_their_hash(bundle):
    manifest = Manifest.read(bundle / "manifest.json")
    assert {file.name for file in manifest.files} == {"model.onnx", "model.pte"}
    assert {path.name for path in bundle.iterdir()} == {"model.onnx", "model.pte", "manifest.json"}
    for file in manifest.files:
        assert file.sha256 == safedeploy.rundir.sha256(bundle / file.name)


def test_both_runtimes_get_the_same_figures_and_verdict(audits):
    onnx, pte = audits.values()
    figures = {attack.name: attack.auc for attack in onnx.attacks}
    assert len(figures) >= 10
    assert {attack.name for attack in pte.attacks} == set(figures)
    for attack in pte.attacks:
        assert attack.auc == pytest.approx(figures[attack.name], abs=0.01)
    assert onnx.verdict.outcome == pte.verdict.outcome
    assert onnx.verdict.budget == {"auc": 0.95}


def test_the_white_box_is_open_in_both(audits):
    for evidence in audits.values():
        assert {attack.access for attack in evidence.attacks} == {"black", "white"}
        assert all("reference models" in left.reason for left in evidence.not_run)


def test_the_audit_judges_the_evaluation_roles_and_knows_only_the_known_ones(shipped_run, audits):
    split = read_split(shipped_run / "split.npz")
    dataset = load_dataset(DataRecipe())
    exam = exam_of_run(RunDir(shipped_run))
    sides = {
        "member_eval": exam.members,
        "nonmember_eval": exam.nonmembers,
        "member_known": exam.knowledge.members,
        "nonmember_known": exam.knowledge.nonmembers,
        "test": exam.test,
    }
    for role, samples in sides.items():
        chosen = split.role == ROLES.index(role)
        assert np.array_equal(samples.y, dataset.y[chosen])
        scale = (dataset.x[chosen].astype(np.float64), samples.x.astype(np.float64))
        slope, offset = np.polyfit(scale[0].ravel(), scale[1].ravel(), 1)
        assert np.allclose(slope * scale[0] + offset, scale[1], atol=1e-4)  # the same examples, on the model's scale
    counts = audits["model.onnx"].samples
    assert (counts.members, counts.nonmembers) == (len(exam.members.y), len(exam.nonmembers.y))


def test_members_and_nonmembers_of_the_audit_were_and_were_not_trained_on(shipped_run):
    examples = load_examples(RunDir(shipped_run))
    trained = content_hashes(examples.samples("member_known", "member_eval").x)
    exam = exam_of_run(RunDir(shipped_run))
    assert content_hashes(exam.members.x) <= trained
    assert not content_hashes(exam.nonmembers.x) & trained


def test_nothing_in_the_bundle_holds_a_training_example_or_who_was_a_member(shipped_run, bundle):
    run = RunDir(shipped_run)
    examples = load_examples(run)
    split = examples.split
    members = np.flatnonzero(np.isin(split.role, [ROLES.index("member_known"), ROLES.index("member_eval")]))
    forbidden = [split.fingerprint.encode(), bytes.fromhex(split.fingerprint), split.role.tobytes()]
    forbidden += [np.ascontiguousarray(row).tobytes() for row in examples.dataset.x[members]]
    forbidden += [row.tobytes() for row in examples.samples("member_known", "member_eval").x]
    forbidden += [members.astype(kind).tobytes()[:64] for kind in (np.int16, np.int32, np.int64, np.float32)]
    forbidden += [", ".join(map(str, members[:8])).encode(), b",".join(str(i).encode() for i in members[:8])]
    forbidden += [run.split.read_bytes()[100:200]]
    with np.load(run.split) as stored:
        buffer = io.BytesIO()
        np.save(buffer, stored["role"])
        forbidden += [buffer.getvalue()[-64:]]
    place = shipped_run.parent.name.rstrip("0123456789")  # also of the folder that it was made in
    words = (b"member_known", b"member_eval", b"fingerprint", b"split.npz", place.encode())
    for path in bundle.iterdir():
        content = path.read_bytes()
        assert not [secret for secret in forbidden if secret in content], path.name
        assert not [word for word in words if word in content], path.name


def test_a_bundle_moved_away_from_its_run_is_a_strangers_file(bundle, tmp_path):
    moved = shutil.copytree(bundle, tmp_path / "app" / "assets")
    with pytest.raises(UserError, match="not in a run's bundle"):
        safedeploy.audit(moved / "model.onnx")


@pytest.mark.slow
def test_run_walks_the_whole_road_and_a_second_run_finds_it_done(typed, home, trained_run, monkeypatch):
    """The real protocol, shorter: everything else as a user has it."""
    monkeypatch.setitem(protocol.PROTOCOLS, "quick", protocol.Rules(queries=16, seconds=0.2, block_seconds=0.05))
    recipe = (trained_run / "recipe.toml").read_text().replace('name = "tiny"', 'name = "road"', 1)
    (home / "r.toml").write_text(recipe)
    answer = typed("run", "r.toml", "--budget", "auc=0.99", "--json")
    assert answer.code == 0, answer.err
    printed = json.loads(answer.out)
    run = RunDir(home / "runs" / "road")
    assert Path(printed["report"]) == Path("runs/road/report.html")
    for part in (run, run.control):
        names = {path.name for path in part.bundle("pair").iterdir()} - {"manifest.json"}
        assert names == {"model.onnx", "model.pte"}
        assert {Evidence.read(part.evidence("pair", name)).artifact.format for name in names} == {"onnx", "executorch"}
        assert all(Timing.read(part.timing("pair", name)).latency_ms.queries >= 16 for name in names)
    dense, sparse = Summary.read(run.control.summary), Summary.read(run.summary)
    assert (dense.density, dense.method) == (1.0, "dense")
    assert 0.299 < sparse.density <= 0.3  # a pixel that is always 0 leaves weights at 0
    assert (dense.roles, dense.fingerprint) == (sparse.roles, sparse.fingerprint)
    assert np.array_equal(read_split(run.split).role, read_split(run.control.split).role)
    shipped = Evidence.read(run.evidence("pair", "model.onnx"))
    control = Evidence.read(run.control.evidence("pair", "model.onnx"))
    assert shipped.controls.dense.artifact.sha256 == control.artifact.sha256
    assert shipped.verdict.outcome == "pass"
    assert "<html" in run.report.read_text()

    before = {path: path.stat().st_mtime_ns for path in (home / "runs").rglob("*.*") if path.name != "report.html"}
    assert typed("run", "r.toml", "--budget", "auc=0.99").code == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before

    safedeploy.audit(run.bundle("pair") / "model.onnx", budget={"auc": 0.6})
    assert typed("run", "r.toml", "--budget", "auc=0.99").code == 0
    assert Evidence.read(run.evidence("pair", "model.onnx")).verdict.budget == {"auc": 0.99}  # the run's own question


def test_the_class_names_of_the_bundle_are_the_data_sets(bundle):
    assert Manifest.read(bundle / "manifest.json").classes == [str(digit) for digit in range(10)]


def test_an_export_that_strays_further_than_its_target_allows_fails_with_the_figures(typed, home, trained_run):
    run = shutil.copytree(trained_run, home / "runs" / "tiny")
    (home / "strict.toml").write_text(
        'name = "strict"\ndescription = "no rounding"\nfiles = ["model.pte"]\n'
        "[tolerance.float32]\nlogit_difference = 1e-12\n"
    )
    answer = typed("export", run, "--target", "strict.toml")
    assert answer.code == 1
    last = answer.err.splitlines()[-1]
    assert last.startswith("safedeploy: model.pte strays from the torch model")
    assert "max logit difference" in last
    assert not (run / "bundle" / "strict").exists()
