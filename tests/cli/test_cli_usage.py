"""How the command line talks: help, version, wrong usage, speed of --help, and JSON that is nothing but JSON."""

import json
import os
import subprocess
import sys
from time import perf_counter

import pytest

from safedeploy.cli.main import COMMANDS
from safedeploy.versions import versions

HEAVY = (
    "torch", "torchvision", "executorch", "accelerate", "onnx", "onnxruntime", "sklearn", "scipy", "numpy",
    "matplotlib", "pandas", "pyarrow", "transformers", "jinja2",
)  # fmt: skip


def shell(*arguments: str, **options: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "safedeploy", *arguments], capture_output=True, text=True, **options)


def test_help_lists_every_command_and_nothing_on_standard_error():
    answer = shell("--help")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert all(f"  {command} " in answer.stdout for command in COMMANDS)


def test_no_arguments_is_help(typed):
    assert typed().out == typed("--help").out


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_every_option_explained_or_named(typed, command):
    answer = typed(command, "--help")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith(f"Usage: safedeploy {command}")


def test_version(typed):
    installed = versions().get("safedeploy", "(not installed)")
    assert typed("--version").out == f"safedeploy {installed}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["audit", "--help"], ["compress", "--help"]])
def test_help_is_fast(arguments):
    """0.2 s on the machine it was written on; the first of five that is fast enough, because a test machine is busy."""
    best = float("inf")
    for _ in range(5):
        start = perf_counter()
        assert shell(*arguments).returncode == 0
        best = min(best, perf_counter() - start)
        if best < 1.0:
            break
    assert best < 1.0


def test_the_command_line_imports_nothing_heavy():
    script = "import sys, safedeploy, safedeploy.cli.main; print(' '.join(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in answer.stdout.split()}
    assert loaded.isdisjoint(HEAVY)
    assert "typer" in loaded


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compres"], "compress"),
        (["--verison"], "--version"),
        (["compress", "--densty", "0.1"], "--density"),
        (["compress", "--epochs"], "--epochs"),
        (["compress", "--epochs", "many"], "'--epochs'"),
        (["audit"], "file"),
        (["bench"], "files"),
        (["bench", "model.onnx", "--threads", "0"], "'--threads'"),
        (["audit", "model.onnx", "--format", "yaml"], "'md', 'json'"),
        (["targets", "android", "extra"], "extra"),
    ],
)
def test_wrong_usage_is_one_line_that_names_the_right_one(typed, home, arguments, said):
    fault = typed(*arguments).fault
    assert said in fault
    assert "--help'" in fault
    assert list(home.iterdir()) == []


def test_the_entry_point_of_a_real_process_answers_the_same():
    answer = shell("bench", "nowhere.onnx")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr == "safedeploy: nowhere.onnx does not exist; give a model file (.onnx or .pte)\n"


def test_a_message_of_several_lines_is_told_in_one(typed, home):
    assert "two lines.onnx does not exist" in typed("bench", "two\nlines.onnx").fault


def test_a_fault_of_safedeploy_itself_is_exit_code_1_with_its_traceback(home):
    """A result file that is a folder is nothing a user types; here it stands for any bug."""
    script = (
        "import safedeploy.cli.main as cli, safedeploy.data.load as load\ndel load.list_datasets\ncli.main(['data'])"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert answer.returncode == 1
    assert "Traceback" in answer.stderr


def test_json_alone_on_standard_output(typed, stranger):
    sides = ["--members", stranger.members, "--nonmembers", stranger.nonmembers]
    answer = typed("audit", stranger.model, *sides, "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["samples"] == {"members": 60, "nonmembers": 60}
    assert "audit model.onnx" in answer.err


def test_markdown_for_people_and_a_file_on_request(typed, stranger, home):
    sides = ["--members", stranger.members, "--nonmembers", stranger.nonmembers, "--attacks", "loss"]
    printed = typed("audit", stranger.model, *sides)
    assert printed.out.startswith("# Audit of model.onnx")
    written = typed("audit", stranger.model, *sides, "--out", home / "new" / "audit.md")
    assert written.out == ""
    assert (home / "new" / "audit.md").read_text().startswith("# Audit of model.onnx")


def test_a_closed_pipe_ends_quietly(home):
    reader, writer = os.pipe()
    os.close(reader)
    answer = subprocess.run(
        [sys.executable, "-u", "-m", "safedeploy", "data"], stdout=writer, stderr=subprocess.PIPE, text=True
    )
    os.close(writer)
    assert answer.returncode == 1
    assert "Traceback" not in answer.stderr


def test_a_budget_that_is_exceeded_exits_3_and_says_by_what(typed, leaking):
    sides = ["--members", leaking.members, "--nonmembers", leaking.nonmembers, "--attacks", "loss"]
    answer = typed("audit", leaking.model, *sides, "--budget", "auc=0.6")
    assert answer.code == 3
    assert "budget" in answer.out
    assert typed("audit", leaking.model, *sides, "--budget", "auc=1").code == 0


def test_a_verdict_that_cannot_be_given_exits_0_or_with_strict_3(typed, stranger):
    """60 non-members cannot resolve one false positive in a thousand."""
    sides = ["--members", stranger.members, "--nonmembers", stranger.nonmembers]
    sides += ["--attacks", "loss", "--budget", "tpr@0.001=0.5"]
    assert typed("audit", stranger.model, *sides).code == 0
    assert typed("audit", stranger.model, *sides, "--strict").code == 3


def test_every_command_has_json(typed):
    groups = {"device": ("prepare", "list")}
    for command in COMMANDS:
        for words in [(command, name) for name in groups.get(command, ())] or [(command,)]:
            assert "--json" in typed(*words, "--help").out


def test_what_lists_has_json_too(typed, home):
    listed = {one["name"]: one["found"] for one in json.loads(typed("data", "--json").out)}
    assert listed["digits"]
    assert not listed["mnist"]
    assert {one["name"] for one in json.loads(typed("targets", "--json").out)} >= {"android", "ios", "linux-arm64"}


def test_each_out_file_is_in_the_form_of_its_suffix(typed, leaking, home):
    sides = ["--members", leaking.members, "--nonmembers", leaking.nonmembers, "--attacks", "loss"]
    files = ("a.json", "a.xml", "a.sarif", "a.html", "a.md")
    answer = typed("audit", leaking.model, *sides, *(word for file in files for word in ("--out", file)))
    assert (answer.code, answer.out) == (0, "")
    starts = {"a.json": "{", "a.xml": "<?xml", "a.sarif": "{", "a.html": "<!DOCTYPE html>", "a.md": "# Audit of"}
    for file, start in starts.items():
        assert (home / file).read_text().startswith(start)
    both = typed("audit", leaking.model, *sides, "--out", "b.html", "--json")
    assert json.loads(both.out) == json.loads((home / "a.json").read_text())
    assert (home / "b.html").is_file()
    assert "say which with --format" in typed("audit", leaking.model, *sides, "--out", "a.txt").fault
    assert typed("audit", leaking.model, *sides, "--out", "a.txt", "--format", "json").code == 0
    assert (home / "a.txt").read_text().startswith("{")
