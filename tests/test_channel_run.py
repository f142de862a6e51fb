"""A run with whole channels removed: it keeps the masked weights, its bundle holds the smaller model."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

import safedeploy
from safedeploy.compression import load_examples
from safedeploy.recipe import Recipe, read_recipe
from safedeploy.results import Manifest, Summary
from safedeploy.rundir import RunDir

TARGET = 'name = "one"\ndescription = "an ONNX file of each precision"\nfiles = ["model.onnx", "model.int8.onnx"]\n'


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    target = tmp_path_factory.mktemp("target") / "one.toml"
    target.write_text(TARGET)
    recipe = Recipe.model_validate(
        {
            "name": "channels",
            "target": str(target),
            "model": {"name": "lenet5"},
            "method": {"name": "magnitude", "density": 0.4, "structure": "channel"},
            "training": {"epochs": 8, "batch_size": 32, "learning_rate": 0.05, "device": "cpu"},
        }
    )
    root = safedeploy.compress(recipe, tmp_path_factory.mktemp("runs")).root
    safedeploy.export(root)
    return RunDir(root)


def test_the_density_is_the_share_of_prunable_weights_left(run):
    summary = Summary.read(run.summary)
    assert 0.2 < summary.density <= 0.4
    shipped = onnx.load(run.bundle("one") / "model.onnx").graph.initializer
    stored = sum(numpy_helper.to_array(one).size for one in shipped if len(one.dims) > 1)
    assert stored == sum(layer.kept for layer in summary.layers)


def test_the_file_answers_as_the_masked_model(run):
    x = load_examples(run).samples("test").x
    with torch.no_grad():
        wanted = safedeploy.load(run.root)(torch.from_numpy(x)).numpy()
    session = onnxruntime.InferenceSession(run.bundle("one") / "model.onnx")
    found = session.run(None, {session.get_inputs()[0].name: x})[0]
    assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()


def test_the_manifest_tells_the_structure_and_counts_the_parameters(run):
    manifest, summary = Manifest.read(run.bundle("one") / "manifest.json"), Summary.read(run.summary)
    assert manifest.structure == "channel"
    shipped = onnx.load(run.bundle("one") / "model.onnx").graph.initializer
    floats = [one for one in shipped if one.data_type == onnx.TensorProto.FLOAT]
    assert manifest.parameters == sum(numpy_helper.to_array(one).size for one in floats)
    assert manifest.parameters < 0.45 * summary.parameters


def test_verify_holds_it_against_the_masked_model(run):
    found = safedeploy.pipeline.verify(run.bundle("one"))
    assert found.passed


def test_its_references_are_exported_the_same_way(run, monkeypatch):
    """Every reference's file has whole channels removed: none of its weight matrices has an empty row."""
    from safedeploy.export import reweight

    seen = []
    export = reweight.Exporter.export
    monkeypatch.setattr(
        reweight.Exporter, "export", lambda self, module, path: (seen.append(module), export(self, module, path))
    )
    safedeploy.pipeline.make_references(run.root, 2, control=False)
    assert len(seen) == 2
    for module in seen:
        assert module.fc1.weight.shape[0] < 120
        assert module.fc1.weight.flatten(1).any(dim=1).all()


def test_the_resolved_recipe_remembers_the_structure(run):
    assert read_recipe(run.recipe).method.structure == "channel"
