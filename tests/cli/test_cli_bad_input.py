"""Bad input gets one line and exit code 2, and leaves nothing behind."""

import shutil
from pathlib import Path

import numpy as np
import pytest


def leaves(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def audited(typed, stranger, home):
    """Types an audit of the stranger's file and checks that it left everything as it was."""

    def audit(*options, model=None):
        before = leaves(home)
        sides = ["--members", stranger.members, "--nonmembers", stranger.nonmembers]
        fault = typed("audit", model or stranger.model, *sides, *options).fault
        assert leaves(home) == before
        return fault

    return audit


def test_a_missing_file(audited):
    assert "nowhere.onnx does not exist" in audited(model="nowhere.onnx")


def test_an_empty_file(audited, home):
    (home / "empty.onnx").touch()
    assert "empty.onnx is empty" in audited(model="empty.onnx")


def test_a_truncated_file(audited, home, stranger):
    whole = stranger.model.read_bytes()
    (home / "half.onnx").write_bytes(whole[: len(whole) // 2])
    assert "half.onnx" in audited(model="half.onnx")


def test_a_photograph_renamed(audited, home):
    (home / "photo.onnx").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    assert "not a model file but a PNG image" in audited(model="photo.onnx")


def test_a_pickle_renamed_is_never_opened(audited, home):
    (home / "evil.pte").write_bytes(b"\x80\x02c__builtin__\nprint\n.")
    assert "never opened" in audited(model="evil.pte")


def test_an_onnx_file_under_another_name_is_still_audited(typed, stranger, home):
    model = stranger.model.rename(home / "model.bin")
    sides = ["--members", stranger.members, "--nonmembers", stranger.nonmembers]
    assert typed("audit", model, *sides, "--attacks", "loss").code == 0


def test_a_regression_is_no_classifier(audited, stranger, home):
    stranger.save_model(home / "one.onnx", classes=1)
    assert "not a classifier" in audited(model="one.onnx")


def test_labels_out_of_range(audited, stranger):
    stranger.save_samples(stranger.members, 1, classes=4)
    assert "out of range 0 to 2" in audited()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_inputs_that_are_no_numbers(audited, stranger, value):
    x = np.load(stranger.members)["x"]
    x[7, 2] = value
    np.savez(stranger.members, x=x, y=np.arange(len(x)) % 3)
    assert "NaN or infinite" in audited()


def test_inputs_of_another_shape(audited, stranger):
    stranger.save_samples(stranger.nonmembers, 2, columns=5)
    assert "(n, 6)" in audited()


def test_members_that_are_also_nonmembers(audited, stranger):
    members, nonmembers = np.load(stranger.members)["x"], np.load(stranger.nonmembers)["x"]
    nonmembers[5:8] = members[50:53]
    np.savez(stranger.nonmembers, x=nonmembers, y=np.arange(120) % 3)
    assert audited().startswith("3 of the 120 non-members are also members")


def test_a_class_on_one_side_only(audited, stranger):
    np.savez(stranger.nonmembers, x=np.load(stranger.nonmembers)["x"], y=np.arange(120) % 2)
    assert "class 2 has no non-members" in audited()


def test_fewer_than_fifty_members(audited, stranger):
    stranger.save_samples(stranger.members, 1, n=49)
    assert "only 49 members" in audited()


def test_one_side_alone(typed, stranger):
    assert "--members and --nonmembers go together" in typed("audit", stranger.model, "--members", "m.npz").fault


def test_a_strangers_file_without_samples(typed, stranger):
    assert "give --members and --nonmembers" in typed("audit", stranger.model).fault


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ("auc", "auc=0.60"),
        ("auc=low", "auc=0.60"),
        ("auc=0.4", "between 0.5 and 1"),
        ("auc=nan", "between 0.5 and 1"),
        ("fpr=0.1", "auc and tpr@FPR"),
        ("tpr@0.001=2", "between 0 and 1"),
        ("tpr@0=0.1", "tpr@FPR"),
    ],
)
def test_a_budget_that_is_none(audited, budget, said):
    assert said in audited("--budget", budget)


def test_a_report_below_a_file_cannot_be_written_and_nothing_is_attacked_for_it(audited, home):
    (home / "file").touch()
    assert "cannot write file/audit.md" in audited("--out", "file/audit.md")
    assert "it is a folder" in audited("--out", home)


def test_a_dense_control_that_is_not_there(audited):
    assert "dense.onnx does not exist" in audited("--dense", "dense.onnx")


@pytest.mark.parametrize("attack", ["loss", "rmia-online"])
def test_references_that_are_not_there_even_where_no_attack_would_read_them(audited, home, attack):
    (home / "refs").mkdir()
    assert "refs holds no reference models" in audited("--references", "refs", "--attacks", attack)
    assert "nowhere holds no reference models" in audited("--references", "nowhere", "--attacks", attack)


def test_the_beginning_of_an_attack_s_name_gets_its_whole(audited):
    assert "did you mean 'rmia-offline'?" in audited("--attacks", "rmia")


def test_timing_a_broken_file_among_good_ones(typed, stranger, home):
    (home / "broken.onnx").write_bytes(stranger.model.read_bytes()[:60])
    assert "broken.onnx" in typed("bench", stranger.model, "broken.onnx").fault


# compress: whatever is wrong is found before anything is written

COMPRESS = ("compress", "--data", "digits", "--model", "mlp", "--method", "set", "--epochs", "1")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--data", "fashon-mnist"], "did you mean 'fashion-mnist'?"),
        (["--model", "lenet"], "did you mean 'lenet5'?"),
        (["--method", "safecompres"], "did you mean 'safecompress'?"),
        (["--target", "androd"], "did you mean 'android'?"),
        (["--method", "safecompress", "--attacker", "blak"], "did you mean 'black'?"),
        (["--method", "safecompress", "--option", "strategies=magnitud/gradient"], "'magnitude/gradient'?"),
        (["--option", "intervall=5"], "did you mean 'interval'?"),
        (["--option", "interval"], "KEY=VALUE"),
        (["--option", "interval=often"], "interval"),
        (["--density", "0"], "density"),
        (["--density", "2"], "density"),
        (["--density", "nan"], "density"),
        (["--density", "0.00001"], "fewer than the 3 layers"),
        (["--method", "dense", "--density", "0.5"], "leave out --density"),
        (["--method", "reweighted", "--structure", "pattern"], "of which this model has none"),
        (["--structure", "2:4", "--density", "0.3"], "leave out --density 0.3, or say --density 0.5"),
        (["--structure", "4:2"], "N must be below M"),
        (["--defence", "relaxloss", "--defence", "crossfit"], "both say what members are taught"),
        (["--defence", "dpsgd", "--model", "resnet18"], "choose a model without batch norm"),
        (["--option", "relaxloss.alpha=0.8"], "add --defence relaxloss"),
        (["--epochs", "0"], "epochs"),
        (["--batch-size", "1"], "batch_size"),
        (["--learning-rate", "-1"], "learning_rate"),
        (["--augment", "crop-flp"], "did you mean 'crop-flip'?"),
        (["--option", "shrink_until=0.8"], "shrink_until 0.8 is after the last update, stop_at 0.75"),
        (["--method", "magnitude", "--option", "prune_from=0.6"], "prune_from 0.6 is not before prune_at 0.5"),
        (["--device", "cud"], "did you mean 'cuda'?"),
        (["--device", "mps"], "no such device here"),
        (["--seed", "-1"], "seed"),
        (["--name", "../elsewhere"], "name"),
        (["--runs", "file/runs"], "cannot write"),
        (["--model", "nowhere.py:make"], "no such file"),
        (["--model", "nowhere.py"], "nowhere.py:function"),
        (["--data", "nowhere.csv"], "no such file or folder"),
        (["--data", "mnist"], "mnist is not in"),
        (["--resume", "runs/none"], "takes the recipe in that run"),
    ],
)
def test_compress_refuses_before_it_writes(typed, home, monkeypatch, options, said):
    import torch

    if "mps" in options and torch.backends.mps.is_available():
        pytest.skip("this machine has one")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setattr("urllib.request._opener", None)  # made once a process, with the proxies of that moment
    (home / "file").touch()
    assert said in typed(*COMPRESS, *options).fault
    assert leaves(home) == {"file": b""}
    assert not (home / "runs").exists()


@pytest.mark.parametrize("command", ["run", "compress"])
def test_the_whole_road_refuses_before_the_control_is_trained(typed, home, command):
    assert "fewer than the 3 layers" in typed(command, *COMPRESS[1:], "--density", "0.00001").fault
    assert list(home.iterdir()) == []


def test_run_refuses_data_too_few_to_judge_on(typed, home):
    rng = np.random.default_rng(0)
    np.savez(home / "few.npz", x=rng.standard_normal((90, 4)), y=np.arange(90) % 2)
    assert "members to judge on" in typed("run", "--data", "few.npz", "--epochs", "1").fault
    assert [path.name for path in home.iterdir()] == ["few.npz"]


def test_a_class_without_examples(typed, home):
    np.savez(home / "gap.npz", x=np.zeros((90, 4), np.float32), y=np.arange(90) % 2 * 2)
    assert "class 1 has no examples" in typed("compress", "--data", "gap.npz").fault
    assert not (home / "runs").exists()


def test_what_shows_as_training_begins_leaves_nothing_either(typed, home):
    np.savez(home / "same.npz", x=np.zeros((90, 4), np.float32), y=np.arange(90) % 2)
    assert "4 folds of 1 distinct members" in typed("compress", "--data", "same.npz", "--epochs", "1").fault
    assert [path.name for path in home.iterdir()] == ["same.npz"]


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("[method]\nname = 'set'\ndensty = 0.1\n", "method.densty: unknown key 'densty'; did you mean 'density'?"),
        ("[trainig]\nepochs = 3\n", "did you mean 'training'?"),
        ("seed = 'one'\n", "seed"),
        ("method = 3\n", "method"),
        ("[split]\nknown = 0.4\nevaluation = 0.4\n", "shares add up"),
        ("[audit.budget]\nfpr = 0.1\n", "auc and tpr@FPR"),
        ("not toml", "not TOML"),
        ("\udcff", "not TOML"),
    ],
)
def test_a_recipe_with_a_fault_is_blamed_by_its_key(typed, home, recipe, said):
    (home / "r.toml").write_bytes(recipe.encode(errors="surrogateescape"))
    fault = typed("compress", "r.toml").fault
    assert said in fault
    assert "r.toml" in fault
    assert [path.name for path in home.iterdir()] == ["r.toml"]


def test_a_recipe_that_is_not_there(typed, home):
    assert "cannot read nowhere.toml" in typed("run", "nowhere.toml").fault


# runs that are not what the command needs


@pytest.mark.parametrize(
    "arguments", [["compress", "--resume"], ["export"], ["report"]], ids=lambda arguments: " ".join(arguments)
)
def test_a_folder_that_is_no_run(typed, home, arguments):
    (home / "photos").mkdir()
    assert "photos is not a run" in typed(*arguments, "photos").fault
    assert list((home / "photos").iterdir()) == []


@pytest.fixture
def run(trained_run, home) -> Path:
    """A copy of a trained run, to be spoilt."""
    return Path(shutil.copytree(trained_run, home / "runs" / "tiny"))


def test_compress_into_a_run_that_exists(typed, home, run):
    before = leaves(home)
    assert "--resume runs/tiny" in typed(*COMPRESS, "--name", "tiny").fault
    assert leaves(home) == before


def test_run_with_another_recipe_into_a_run_that_exists(typed, home, run):
    before = leaves(home)
    assert "--fresh" in typed("run", *COMPRESS[1:], "--name", "tiny").fault
    assert leaves(home) == before


def test_run_fresh_with_bad_options_keeps_the_run_there_is(typed, home, run):
    before = leaves(home)
    answer = typed("run", *COMPRESS[1:], "--name", "tiny", "--fresh", "--density", "0.00001")
    assert "fewer than the 3 layers" in answer.fault
    assert leaves(home) == before


def test_export_of_a_run_that_is_not_finished(typed, home, run):
    (run / "model.safetensors").unlink()
    before = leaves(home)
    assert "safedeploy compress --resume runs/tiny" in typed("export", "runs/tiny").fault
    assert leaves(home) == before


def test_a_structure_that_there_is_not(typed, home):
    assert "did you mean 'channel'?" in typed("compress", "--structure", "chanel").fault
    assert not (home / "runs").exists()


def test_a_structure_that_the_method_does_not_have(typed, home):
    fault = typed("compress", "--data", "digits", "--method", "dense", "--structure", "channel").fault
    assert fault.startswith("--method dense keeps every weight: for --structure channel choose --method magnitude or ")


@pytest.mark.parametrize(
    ("structure", "density", "wrong"),
    [
        (
            "pattern",
            "0.2",
            "--structure pattern is for 3x3 convolutions, of which this model has none (conv1.weight is",
        ),
        ("2:4", "0.2", "--structure 2:4: conv2.weight reads 6 inputs, which 4 does not divide; use --structure 1:2"),
        ("1:2", "0.2", "--structure 1:2 keeps 0.5 of the weights: leave out --density 0.2, or say --density 0.5"),
        ("block:16x16", "0.2", "--structure block:16x16 is larger than the matrix of conv1.weight, 6 by 25"),
        (
            "filter",
            "0.01",
            "filter: one of each layer, as of conv2.weight with 150 weights, is more already; use at least 0.0567",
        ),
        ("rows", "0.2", "unknown structure 'rows' (known: N:M, block:RxC, channel, column, filter, irregular, kernel,"),
        ("3:2", "0.2", "structure '3:2' keeps 3 of every 2 weights: N must be below M, as in 2:4"),
    ],
)
def test_a_structure_that_this_model_cannot_have(typed, home, structure, density, wrong):
    options = ("--method", "set", "--structure", structure, "--density", density)
    assert wrong in typed("compress", "--data", "digits", "--model", "lenet5", *options).fault
    assert not list(home.iterdir())


def test_a_density_that_whole_channels_cannot_have(typed, home):
    channels = ["--model", "lenet5", "--method", "magnitude", "--structure", "channel"]
    assert "keeps at least 0." in typed("compress", "--data", "digits", *channels, "--density", "0.001").fault
    assert not (home / "runs").exists()


def test_export_for_an_unknown_target(typed, run):
    assert "did you mean 'android'?" in typed("export", run, "--target", "andriod").fault


def test_data_that_changed_since_the_training(typed, home, run):
    split = dict(np.load(run / "split.npz"))
    split["fingerprint"] = np.array("0" * 64)
    np.savez(run / "split.npz", **split)
    for command in (["export"], ["compress", "--resume"]):
        assert "fingerprints differ" in typed(*command, "runs/tiny").fault


def test_weights_that_are_cut_short(typed, run):
    weights = run / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "model.safetensors" in typed("export", run).fault


def test_weights_of_another_model(typed, run):
    recipe = run / "recipe.toml"
    recipe.write_text(recipe.read_text().replace('name = "mlp"', 'name = "lenet5"'))
    assert "model.safetensors" in typed("export", run).fault


def test_a_result_file_that_is_damaged(typed, run):
    (run / "summary.json").write_text("{}")
    assert "summary.json is not a Summary file" in typed("report", run).fault
