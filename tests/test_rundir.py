"""A run's files: whole or not there at all, and found from a bundle's neighbours."""

import hashlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from safedeploy import rundir
from safedeploy.errors import UserError


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_with_its_folders(tmp_path):
    path = tmp_path / "a" / "b" / "file.txt"
    rundir.write_text(path, "höhe")
    assert path.read_bytes() == "höhe".encode()
    assert listing(path.parent) == ["file.txt"]


def test_a_written_file_can_be_read_by_others(tmp_path):
    rundir.write_text(tmp_path / "file", "x")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def write_half(path, failure):
    with rundir.atomic(path) as handle:
        handle.write(b"half of the new")
        handle.flush()
        raise failure


@pytest.mark.parametrize("failure", [RuntimeError("midway"), KeyboardInterrupt(), UserError("bad")])
def test_a_failure_inside_leaves_the_old_file_and_nothing_else(tmp_path, failure):
    path = tmp_path / "file"
    rundir.write_text(path, "old")
    with pytest.raises(type(failure)):
        write_half(path, failure)
    assert path.read_text() == "old"
    assert listing(tmp_path) == ["file"]


def test_a_failure_inside_leaves_no_file_where_there_was_none(tmp_path):
    with pytest.raises(RuntimeError):
        write_half(tmp_path / "file", RuntimeError())
    assert listing(tmp_path) == []


def test_until_the_end_a_reader_sees_the_old_file(tmp_path):
    path = tmp_path / "file"
    rundir.write_text(path, "old")
    with rundir.atomic(path) as handle:
        handle.write(b"new")
        handle.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    rundir.write_text(path, "old")
    writer = (
        "import sys, time; from pathlib import Path; from safedeploy.rundir import atomic\n"
        "with atomic(Path(sys.argv[1])) as handle:\n"
        "    handle.write(b'half'); handle.flush(); print('in', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", writer, str(path)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"in\n"
        process.send_signal(signal.SIGKILL)
    finally:
        process.wait(timeout=30)
    assert path.read_text() == "old"


def test_infinities_never_reach_a_json_file(tmp_path):
    path = tmp_path / "file.json"
    rundir.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        rundir.write_json(path, {"a": float("inf")})
    assert path.read_text() == '{\n  "a": 1\n}\n'
    assert listing(tmp_path) == ["file.json"]


@pytest.mark.parametrize("below", ["file/here.txt", "file/deeper/here.txt"])
def test_a_folder_that_cannot_be_is_one_line(tmp_path, below):
    (tmp_path / "file").write_text("a regular file")
    with pytest.raises(UserError, match="choose a writable folder") as caught:
        rundir.write_text(tmp_path / below, "x")
    assert str(tmp_path / "file") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_in_the_file_s_place_is_one_line_and_leaves_nothing(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(UserError, match="cannot write"):
        rundir.write_text(tmp_path / "taken", "x")
    assert listing(tmp_path) == ["taken"]


def test_a_name_too_long_is_one_line(tmp_path):
    with pytest.raises(UserError, match="cannot write"):
        rundir.write_text(tmp_path / ("n" * 300), "x")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_file_system_that_takes_no_files_is_one_line():
    with pytest.raises(UserError, match="cannot write /proc/"):
        rundir.write_text(Path("/proc/safedeploy/file"), "x")


def test_sha256_is_the_content_s(tmp_path):
    (tmp_path / "file").write_bytes(b"abc" * 100_000)
    assert rundir.sha256(tmp_path / "file") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_a_bundle_s_file_finds_its_run(tmp_path):
    run = rundir.RunDir(tmp_path / "digits")
    path = run.bundle("android") / "model.onnx"
    path.parent.mkdir(parents=True)
    path.touch()
    assert rundir.run_of_artifact(path) is None  # not a run yet
    run.recipe.touch()
    run.split.touch()
    assert rundir.run_of_artifact(path) == rundir.RunDir(run.root.resolve())
    assert rundir.run_of_artifact(tmp_path / "model.onnx") is None


def test_a_folder_that_is_no_run_says_how_to_make_one(tmp_path):
    with pytest.raises(UserError, match=r"not a run: it has no recipe\.toml; make one"):
        rundir.open_run(tmp_path)
