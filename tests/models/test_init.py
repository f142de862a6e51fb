"""Trained weights to begin with: every place they come from, and every way in which they can fail to fit."""

import json
import urllib.request

import pytest
import torch
from safetensors.torch import save_file

from safedeploy.errors import UserError
from safedeploy.models.init import initial_model, put_in, read_weights, weights_sha256
from safedeploy.models.zoo import build_model
from safedeploy.recipe import ModelRecipe
from safedeploy.vision import torchvision


@pytest.fixture
def trained():
    """Weights that no seed draws."""
    weights = build_model("mlp", (6,), 3, 0).state_dict()
    return {name: value + 1 for name, value in weights.items()}


@pytest.fixture
def saved(tmp_path, trained):
    save_file(trained, tmp_path / "trained.safetensors")
    return str(tmp_path / "trained.safetensors")


def made(init, name="mlp", shape=(6,), classes=3, seed=1):
    return initial_model(ModelRecipe(name=name, init=str(init)), shape, classes, seed).state_dict()


def fault(init, **changes):
    with pytest.raises(UserError) as caught:
        made(init, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


def test_a_file_gives_its_weights_whatever_the_seed(saved, trained):
    assert_same(made(saved, seed=1), trained)
    assert_same(made(saved, seed=2), trained)


def test_the_model_trains_on(saved):
    assert initial_model(ModelRecipe(name="mlp", init=saved), (6,), 3, 0).training


def test_without_an_init_the_seed_decides():
    fresh = initial_model(ModelRecipe(name="mlp"), (6,), 3, 4).state_dict()
    assert_same(fresh, build_model("mlp", (6,), 3, 4).state_dict())


def test_masks_of_a_run_are_no_weights(tmp_path, trained):
    save_file({**trained, "mask:fc1.weight": torch.ones(256, 6, dtype=torch.bool)}, tmp_path / "model.safetensors")
    assert_same(made(tmp_path / "model.safetensors"), trained)
    assert_same(made(tmp_path), trained)


def test_a_folder_in_shards_is_one_set_of_weights(tmp_path, trained):
    """As transformers saves large models."""
    names = list(trained)
    parts = {"a.safetensors": names[:3], "b.safetensors": names[3:]}
    for file, held in parts.items():
        save_file({name: trained[name] for name in held}, tmp_path / file)
    index = {"weight_map": {name: file for file, held in parts.items() for name in held}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert_same(made(f"hf:{tmp_path}"), trained)


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "_orig_mod.module."])
def test_the_names_that_wrappers_make_are_understood(tmp_path, trained, wrapper):
    save_file({wrapper + name: value for name, value in trained.items()}, tmp_path / "w.safetensors")
    assert_same(made(tmp_path / "w.safetensors"), trained)


def test_half_precision_weights_are_widened(tmp_path, trained):
    save_file({name: value.half() for name, value in trained.items()}, tmp_path / "w.safetensors")
    found = made(tmp_path / "w.safetensors")
    assert_same(found, {name: value.half().float() for name, value in trained.items()})


def test_other_classes_get_a_last_layer_of_their_own(saved, trained):
    found, fresh = made(saved, classes=7, seed=3), build_model("mlp", (6,), 7, 3).state_dict()
    for name in found:
        assert torch.equal(found[name], (fresh if name.startswith("fc3") else trained)[name])
    assert put_in(build_model("mlp", (6,), 7, 3), saved, "mlp") == ["fc3.weight", "fc3.bias"]
    assert put_in(build_model("mlp", (6,), 3, 3), saved, "mlp") == []


def test_a_file_without_a_last_layer_gets_one(tmp_path, trained):
    body = {name: value for name, value in trained.items() if not name.startswith("fc3")}
    save_file(body, tmp_path / "body.safetensors")
    assert put_in(build_model("mlp", (6,), 3, 0), str(tmp_path / "body.safetensors"), "mlp") == [
        "fc3.weight",
        "fc3.bias",
    ]


def test_other_inputs_are_refused_with_both_shapes(saved):
    told = fault(saved, shape=(9,))
    assert told.startswith(f"--init {saved}: 'fc1.weight' is (256, 6) there and (256, 9) in mlp for this data")


def test_a_last_layer_of_another_width_is_refused(tmp_path, trained):
    trained["fc3.weight"] = torch.zeros(3, 64)
    save_file(trained, tmp_path / "w.safetensors")
    assert "'fc3.weight' is (3, 64) there and (3, 128) in mlp" in fault(tmp_path / "w.safetensors")


def test_missing_and_further_tensors_are_named(tmp_path, trained):
    save_file({name: value for name, value in trained.items() if name != "fc1.bias"}, tmp_path / "a.safetensors")
    assert "lacks 'fc1.bias' of mlp: give weights of the same model" in fault(tmp_path / "a.safetensors")
    save_file({**trained, "fc4.weight": torch.zeros(3)}, tmp_path / "b.safetensors")
    assert "holds 'fc4.weight', mlp has no 'fc4.weight'" in fault(tmp_path / "b.safetensors")
    save_file({"conv.weight": torch.zeros(3)}, tmp_path / "c.safetensors")
    assert "holds 'conv.weight', mlp has 'flatten" not in (told := fault(tmp_path / "c.safetensors"))
    assert "holds 'conv.weight', mlp has 'fc1.weight'" in told


def test_weights_of_a_diverged_training_are_refused(tmp_path, trained):
    trained["fc2.bias"][4] = float("nan")
    save_file(trained, tmp_path / "w.safetensors")
    assert "'fc2.bias' holds values that are not finite" in fault(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no safetensors file"),
        (b"PK\x03\x04 a pickle in a zip", "is no safetensors file"),
        (None, "there is no"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, content, message):
    path = tmp_path / "w.safetensors"
    if content is not None:
        path.write_bytes(content)
    assert message in fault(path)


def test_a_cut_file_and_an_empty_folder_are_one_line(tmp_path, saved):
    whole = open(saved, "rb").read()  # noqa: PTH123, SIM115
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    assert "is no safetensors file" in fault(tmp_path / "cut.safetensors")
    (tmp_path / "empty").mkdir()
    assert "is a folder without model.safetensors" in fault(tmp_path / "empty")


@pytest.fixture
def no_network(tmp_path, monkeypatch):
    """A torch cache of its own, and addresses that lead nowhere."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setattr(urllib.request, "_opener", None)  # it keeps the proxies of its first use
    return tmp_path / "torch" / "hub" / "checkpoints"


def test_published_weights_begin_with_a_new_last_layer(no_network):
    """From torchvision's cache, where a download puts them: 1,000 classes there, 10 here."""
    models = torchvision("torchvision.models")
    published = models.resnet18(num_classes=1000).state_dict()
    url = models.get_model_weights("resnet18").DEFAULT.url
    no_network.mkdir(parents=True)
    torch.save(published, no_network / url.rpartition("/")[2])
    found = made("torchvision:resnet18", "resnet18", (3, 96, 96), 10)
    assert all(torch.equal(found[name], published[name]) for name in published if not name.startswith("fc."))
    assert found["fc.weight"].shape == (10, 512)
    told = fault("torchvision:resnet18", name="resnet18", shape=(3, 32, 32), classes=10)
    assert "'conv1.weight' is (64, 3, 7, 7) there and (64, 3, 3, 3) in resnet18 for this data" in told
    assert "'bn1." not in told


def test_weights_from_before_batches_were_counted_are_taken(no_network):
    models = torchvision("torchvision.models")
    old = {name: value for name, value in models.mobilenet_v2().state_dict().items() if "num_batches" not in name}
    no_network.mkdir(parents=True)
    torch.save(old, no_network / models.get_model_weights("mobilenet_v2").DEFAULT.url.rpartition("/")[2])
    assert read_weights("torchvision:mobilenet_v2").keys() == old.keys()
    found = made("torchvision:mobilenet_v2", "mobilenet_v2", (3, 96, 96), 1000)
    assert torch.equal(found["features.0.0.weight"], old["features.0.0.weight"])


def test_what_cannot_be_downloaded_is_one_line(no_network, capsys):
    advice = "without a network give a file: --init FILE.safetensors"
    told = fault("torchvision:resnet18", name="resnet18", shape=(3, 96, 96), classes=10)
    assert told.startswith("--init torchvision:resnet18 cannot be had (")
    assert told.endswith(advice)
    told = fault("hf:someone/something")
    assert told.startswith("--init hf:someone/something cannot be had (")
    assert told.endswith(advice)
    assert capsys.readouterr().out == ""


def test_an_unknown_published_model_gets_the_nearest(no_network):
    assert "unknown torchvision model 'resnet81'; did you mean 'resnet18'?" in fault("torchvision:resnet81")


def test_the_digest_of_weights_is_of_the_weights_and_not_of_their_file(tmp_path, saved, trained):
    masked = {**trained, "mask:fc1.weight": torch.ones(256, 6, dtype=torch.bool)}
    save_file({f"module.{name}": value for name, value in trained.items()}, tmp_path / "again.safetensors")
    save_file(masked, tmp_path / "model.safetensors")
    wanted = weights_sha256(saved)
    assert weights_sha256(str(tmp_path / "again.safetensors")) == weights_sha256(str(tmp_path)) == wanted
    trained["fc2.bias"][0] += 1
    save_file(trained, tmp_path / "other.safetensors")
    assert weights_sha256(str(tmp_path / "other.safetensors")) != wanted
