"""Claims about the at-a-glance table: every figure is one of the result files', and a gap says what to run."""

from collections.abc import Callable
from dataclasses import replace

from safedeploy.report import words
from safedeploy.report.contents import Contents
from safedeploy.report.table import Row, glance, missing
from safedeploy.results import Timing


def cell(rows: list[Row], file: str, key: str, model: int) -> str:
    [row] = [row for row in rows if row.file == file and row.key == key]
    return str(row.cells[model])


def test_every_figure_is_one_of_the_result_files(contents: Contents) -> None:
    rows = glance(contents)

    for index, model in enumerate(contents.models):
        assert model.summary is not None
        assert model.manifest is not None
        assert cell(rows, "", "trained", index) == words.percent(model.summary.accuracy["test"])
        assert cell(rows, "", "kept", index) == words.percent(model.summary.density)
        for file in model.manifest.files:
            evidence, timing = model.evidence[file.name], model.timing[file.name]
            worst = max(evidence.attacks, key=lambda attack: attack.auc)
            assert evidence.task.test_accuracy is not None
            assert cell(rows, file.name, "accuracy", index) == words.percent(evidence.task.test_accuracy)
            assert cell(rows, file.name, "auc", index) == f"{worst.auc:.3f} [{worst.auc_low:.3f}, {worst.auc_high:.3f}]"
            assert cell(rows, file.name, "disk", index) == words.size(file.size_bytes)
            assert cell(rows, file.name, "download", index) == words.size(file.zip_bytes)
            assert cell(rows, file.name, "p50", index) == words.milliseconds(timing.latency_ms.p50)
            assert cell(rows, file.name, "memory", index) == words.size(timing.peak_memory_bytes)
    assert len(rows) == 2 + 6 * len(contents.files)
    assert all(len(row.cells) == len(contents.models) and all(one.known for one in row.cells) for row in rows)
    assert missing(rows) == []


def test_files_come_in_one_order(contents: Contents) -> None:
    files = list(dict.fromkeys(row.file for row in glance(contents) if row.file))

    assert files == ["model.onnx", "model.int8.onnx", "model.pte", "model.int8.pte"]


def test_a_latency_of_this_machine_says_so_and_an_emulated_one_is_not_shown(
    contents: Contents, make_timing: Callable[..., Timing]
) -> None:
    emulated = make_timing("model.onnx", device="qemu-arm64")
    shipped = replace(contents.shipped, timing={**contents.shipped.timing, "model.onnx": emulated})

    rows = [row for row in glance(replace(contents, models=(shipped, contents.models[1]))) if row.key == "p50"]

    assert rows[0].cells[0].text == "not a speed: emulated"
    assert "emulated" in rows[0].cells[0].note
    assert rows[0].cells[1].note == "this machine"
    assert not any(character.isdigit() for character in rows[0].cells[0].text)


def test_each_gap_names_the_command_that_fills_it(contents: Contents) -> None:
    bare = replace(contents.shipped, evidence={}, timing={}, summary=None)

    commands = missing(glance(replace(contents, models=(bare,))))

    assert commands[0] == "safedeploy compress --resume runs/fashion"
    assert "safedeploy audit runs/fashion/bundle/android/model.int8.onnx" in commands
    assert "safedeploy bench runs/fashion/bundle/android/model.pte" in commands
    assert len(commands) == len(set(commands)) == 1 + 2 * 4


def test_a_run_not_exported_says_so(contents: Contents) -> None:
    bare = replace(contents.shipped, evidence={}, timing={}, manifest=None)

    rows = glance(replace(contents, models=(bare,)))

    assert rows[-1].cells[0].text == "not exported"
    assert missing(rows) == ["safedeploy export runs/fashion --target android"]
