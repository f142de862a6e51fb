"""What a plan says: figures that add up, honest reasons, commands that can be typed, and bad input in one line."""

import json
import shlex

import pytest

from safedeploy import planning
from safedeploy.errors import UserError
from safedeploy.plan.text import WIDTH, plan_text
from safedeploy.results import Plan

OWN = """
from torch import nn

def small(classes):
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 64, classes))
"""


@pytest.fixture(scope="module")
def mobilenet() -> Plan:
    return planning.plan("mobilenet_v2")


@pytest.fixture(scope="module")
def channels() -> Plan:
    return planning.plan("lenet5", density=0.4, structure="channel", input_shape="1x28x28")


@pytest.fixture
def plans(mobilenet, channels):
    return [mobilenet, channels]


def test_shares_add_up_to_one_and_kept_weights_to_the_density(plans):
    for plan in plans:
        assert sum(layer.weight_share for layer in plan.layers) == pytest.approx(1)
        assert sum(layer.mac_share for layer in plan.layers) == pytest.approx(1)
        assert sum(layer.kept for layer in plan.layers) == plan.kept
        assert sum(layer.weights for layer in plan.layers) == plan.weights
    mobilenet, channels = plans
    assert mobilenet.kept == round(0.1 * mobilenet.weights)
    assert 0.3 * channels.weights < channels.kept <= 0.4 * channels.weights


def test_irregular_zeros_leave_all_the_work_and_channels_do_not(mobilenet, channels):
    assert mobilenet.planned_macs == mobilenet.macs
    assert {file.multiplied for file in mobilenet.files} == {1.0}
    assert channels.planned_macs < 0.5 * channels.macs
    assert all(file.multiplied == channels.planned_macs / channels.macs for file in channels.files)


def test_a_pte_stays_as_large_on_disk_and_zips_and_an_onnx_shrinks(mobilenet):
    files = {file.name: file for file in mobilenet.files}
    for name in ("model.pte", "model.int8.pte"):
        assert files[name].disk.planned == files[name].disk.dense
        assert files[name].download.planned < 0.3 * files[name].download.dense
    for name in ("model.onnx", "model.int8.onnx"):
        assert files[name].disk.planned < 0.4 * files[name].disk.dense
    assert all(file.resident.planned == file.resident.dense for file in mobilenet.files)


def test_every_reason_named_is_listed_with_its_source(plans):
    for plan in plans:
        listed = {rule.name for rule in plan.rules}
        named = {name for layer in plan.layers for name in layer.time.values()}
        named |= {name for file in plan.files for name in file.rules.values()} | {limit.rule for limit in plan.limits}
        assert named == listed
        assert all(rule.source for rule in plan.rules)


def test_mobilenets_reasons_are_its_layers(mobilenet):
    shares = {limit.rule: limit.share for limit in mobilenet.limits}
    assert shares["executorch-time-1x1"] > 0.9
    assert shares["executorch-time-depthwise"] + shares["executorch-time-kxk"] + shares["executorch-time-1x1"] > 0.99
    assert shares["onnxruntime-time"] == pytest.approx(1)


def test_a_density_of_one_buys_nothing():
    plan = planning.plan("mlp", density=1.0, input_shape="20")
    assert plan.kept == plan.weights
    for file in plan.files:
        for estimate in (file.disk, file.download, file.resident):
            assert estimate.planned == estimate.dense


def test_a_users_own_model_and_one_precision(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    plan = planning.plan(f"{tmp_path}/own.py:small", input_shape="3x8x8", classes=4, values="int8")
    assert [file.name for file in plan.files] == ["model.int8.onnx", "model.int8.pte"]
    assert plan.weights == 3 * 16 * 9 + 16 * 64 * 4
    assert {layer.time["executorch"] for layer in plan.layers} == {"executorch-time-int8"}


def test_the_plan_reads_back_as_it_was_written(mobilenet):
    assert Plan.model_validate_json(mobilenet.model_dump_json()) == mobilenet


def test_the_first_lines_are_the_answer_and_all_lines_fit(plans):
    for plan in plans:
        for layers in (False, True):
            lines = plan_text(plan, layers=layers).splitlines()
            assert max(len(line) for line in lines if "safedeploy plan" not in line) <= WIDTH
            assert all(file.name in "\n".join(lines[3:10]) for file in plan.files)
    assert "no faster" in plan_text(plans[0])
    short = "Less disk: model.onnx, model.int8.onnx. Less download: all. Less memory: none. Faster: none."
    assert plan_text(plans[0]).splitlines()[2] == short


def test_every_layer_is_shown_on_request(mobilenet):
    text = plan_text(mobilenet, layers=True)
    assert all(layer.name.removesuffix(".weight") in text for layer in mobilenet.layers)


def test_advice_that_is_a_plan_can_be_typed(typed, mobilenet):
    commands = [advice.command for advice in mobilenet.advice if advice.command.startswith("safedeploy plan")]
    quick = [command for command in commands if "--verify" not in command]  # it would take minutes
    assert len(quick) == len(commands) - 1 == 1
    for command in quick:
        answer = typed(*shlex.split(command)[1:], "--json")
        assert answer.code == 0, answer.err
        assert json.loads(answer.out)["structure"] == "channel"


def test_a_model_whose_channels_cannot_go_at_the_density_is_advised_one_that_it_can_have():
    advised = [one for one in planning.plan("mlp", input_shape="20").advice if "channel" in one.command]
    assert advised
    assert "--density 0.1 " not in advised[0].command + " "


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": "resnet81"}, "did you mean 'resnet18'"),
        ({"target": "androd"}, "did you mean 'android'"),
        ({"structure": "chanel"}, "did you mean 'channel'"),
        ({"structure": "2:4"}, "--structure 2:4: plan has rules for irregular and channel only"),
        ({"values": "int4"}, "unknown precision 'int4'"),
        ({"density": 0.0}, "--density 0: "),
        ({"density": 1.5}, "--density 1.5: "),
        ({"density": float("nan")}, "--density nan: "),
        ({"density": 1e-7}, "use at least"),
        ({"structure": "channel", "density": 0.001}, "keeps at least"),
        ({"model": "resnet18", "input_shape": "3x4x4"}, "at least 8 × 8 pixels"),
        ({"model": "resnet18", "input_shape": "446"}, "resnet18 wants images"),
        ({"input_shape": "3x32"}, "--input 3x32: "),
        ({"input_shape": "3xax4"}, "--input 3xax4: "),
        ({"input_shape": "0x8x8"}, "--input 0x8x8: "),
        ({"input_shape": ""}, "--input : "),
        ({"classes": 1}, "--classes 1: "),
        ({"model": "nowhere.py:make"}, "no such file"),
    ],
)
def test_bad_input_is_one_line_that_names_it(options, said):
    with pytest.raises(UserError) as caught:
        planning.plan(**{"model": "lenet5", "input_shape": "1x28x28", **options})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_channels_that_cannot_go_are_one_line(tmp_path):
    (tmp_path / "own.py").write_text("from torch import nn\ndef only(classes):\n    return nn.Linear(8, classes)\n")
    with pytest.raises(UserError, match="no channels that can be removed"):
        planning.plan(f"{tmp_path}/own.py:only", input_shape="8", structure="channel")


def test_the_command_line_prints_the_plan_and_bad_input_in_one_line(typed):
    answer = typed("plan", "--model", "lenet5", "--input", "1x28x28")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("lenet5 at 1×28×28, 10 classes, for android: 10 % of its weights kept")
    assert "--density 0" in typed("plan", "--model", "lenet5", "--density", "0").fault
    assert "--model" in typed("plan").fault


def test_a_target_that_stores_dense_gets_no_small_onnx_file_and_a_budget_that_is_passed_is_said(tmp_path):
    target = tmp_path / "mine.toml"
    target.write_text(
        'name = "mine"\ndescription = "a small app"\nfiles = ["model.onnx"]\n'
        "[encoding]\nsparse = false\n[budget]\ndisk_bytes = 1000\n"
    )
    plan = planning.plan("mlp", str(target), input_shape="20")
    (file,) = plan.files
    assert file.disk.planned == file.disk.dense
    assert file.download.planned < 0.3 * file.download.dense
    assert "The target has its ONNX files stored dense." in plan.notes
    assert any(note.startswith("model.onnx is over the target's disk budget: ") for note in plan.notes)
    assert f"--target {target}" in " ".join(advice.command for advice in plan.advice)
