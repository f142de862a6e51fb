"""The Python API and the command line are one thing: the same inputs give the same results."""

import json
import shutil
from pathlib import Path

import pytest
import torch

import safedeploy
from safedeploy.bench import protocol
from safedeploy.results import Evidence, Manifest, Summary


@pytest.fixture
def run(shipped_run, home) -> Path:
    return Path(shutil.copytree(shipped_run, home / "runs" / "tiny"))


def test_every_name_of_the_api_is_there():
    for name in safedeploy.__all__:
        assert callable(getattr(safedeploy, name))
    with pytest.raises(AttributeError, match="no attribute 'compres'"):
        safedeploy.compres  # noqa: B018


def test_compress_gives_the_command_lines_weights(typed, home):
    options = {"epochs": 2, "batch_size": 32, "learning_rate": 0.05, "device": "cpu"}
    recipe = safedeploy.Recipe.model_validate(
        {"name": "api", "model": {"name": "mlp"}, "method": {"name": "rigl", "density": 0.2}, "training": options}
    )
    made = safedeploy.compress(recipe)
    typing = ["--data", "digits", "--model", "mlp", "--method", "rigl", "--density", "0.2", "--epochs", "2"]
    typing += ["--batch-size", "32", "--learning-rate", "0.05", "--device", "cpu", "--name", "cli", "--json"]
    answer = typed("compress", *typing)
    assert answer.code == 0, answer.err
    assert made.weights.read_bytes() == Path("runs/cli/model.safetensors").read_bytes()
    api, cli = Summary.read(made.summary), Summary.model_validate_json(answer.out)
    assert api.model_copy(update={"seconds": 0}) == cli.model_copy(update={"seconds": 0})


def test_export_gives_the_command_lines_manifest_and_onnx_bytes(typed, run, home):
    target = home / "one.toml"
    target.write_text('name = "one"\ndescription = "one file"\nfiles = ["model.onnx"]\n')
    api = safedeploy.export(run, str(target))
    first = (run / "bundle/one/model.onnx").read_bytes()
    answer = typed("export", run, "--target", target, "--json")
    assert answer.code == 0, answer.err
    assert Manifest.model_validate_json(answer.out) == api
    assert (run / "bundle/one/model.onnx").read_bytes() == first


def test_audit_gives_the_command_lines_evidence(typed, run):
    file = run / "bundle/pair/model.onnx"
    api = safedeploy.audit(file, budget={"auc": 0.9}, attacks=["loss", "boosted", "gradient-norm"])
    answer = typed(
        "audit", file, "--budget", "auc=0.9", "--attacks", "loss,boosted", "--attacks", "gradient-norm", "--json"
    )
    assert answer.code == (3 if api.verdict.outcome == "fail" else 0)
    assert Evidence.model_validate_json(answer.out) == api
    assert Evidence.read(run / "audit/pair/model.onnx.json") == api


def test_two_bundles_of_one_run_keep_their_evidence_apart(run):
    shutil.copytree(run / "bundle/pair", run / "bundle/twin")
    first = safedeploy.audit(run / "bundle/pair/model.onnx", budget={"auc": 0.9}, attacks=["loss"])
    safedeploy.audit(run / "bundle/twin/model.onnx", budget={"auc": 0.8}, attacks=["loss"])
    assert Evidence.read(run / "audit/pair/model.onnx.json") == first
    assert Evidence.read(run / "audit/twin/model.onnx.json").verdict.budget == {"auc": 0.8}


def test_an_audits_seed_is_the_runs_unless_one_is_given(run):
    file = run / "bundle/pair/model.onnx"
    own, zero, other = (
        safedeploy.audit(file, seed=seed, attacks=["loss", "margin-by-class", "boosted"]).attacks
        for seed in (None, safedeploy.read_recipe(run / "recipe.toml").seed, 99)
    )
    assert own == zero
    drawn = {attack.name for attack, changed in zip(own, other, strict=True) if attack.roc != changed.roc}
    assert drawn == {"boosted"}  # thresholds draw nothing


def test_bench_gives_the_same_kind_of_timing(typed, run, monkeypatch):
    monkeypatch.setitem(protocol.PROTOCOLS, "quick", protocol.Rules(queries=8, seconds=0.1, block_seconds=0.05))
    file = run / "bundle/pair/model.onnx"
    (api,) = safedeploy.bench([file])
    answer = typed("bench", file, "--json")
    assert answer.code == 0, answer.err
    (cli,) = json.loads(answer.out)
    assert cli["artifact"] == api.artifact.model_dump()
    assert {key for key in cli if key.endswith("_ms")} == {"cold_load_ms", "first_inference_ms", "latency_ms"}
    assert (run / "bench/pair/model.onnx.json").is_file()


def test_report_writes_the_page_and_prints_where(typed, run):
    page = safedeploy.report(run)
    content = page.read_bytes()
    answer = typed("report", run)
    assert (answer.code, Path(answer.out.strip())) == (0, page)
    assert page.read_bytes() == content


def test_load_gives_the_module_in_evaluation_mode(run):
    module = safedeploy.load(run)
    assert isinstance(module, torch.nn.Module)
    assert not module.training


def test_bad_input_is_a_user_error_with_the_command_lines_words(typed, run):
    with pytest.raises(safedeploy.UserError) as raised:
        safedeploy.audit(run / "nowhere.onnx")
    assert typed("audit", run / "nowhere.onnx").fault == str(raised.value)
