"""Silence: everything the exporters might say, and what must still be heard."""

import logging
import os
import sys
import warnings

import pytest
from rich.console import Console

from safedeploy.export.quiet import quiet


def test_prints_warnings_logs_and_native_writes_are_not_heard(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet():
        print("printed")
        print("complained", file=sys.stderr)
        warnings.warn("warned", stacklevel=1)
        logging.getLogger("torch.onnx").error("logged")
        os.write(1, b"native out\n")
        os.write(2, b"native err\n")
    assert capfd.readouterr() == ("", "")


def test_a_progress_bar_drawn_by_rich_stays_alive(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet():
        Console(stderr=True).print("40 %")
    assert capfd.readouterr().err == "40 %\n"


def test_everything_is_heard_again_afterwards_even_after_an_exception(capfd: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr, logging.root.manager.disable, list(warnings.filters)
    with pytest.raises(KeyError), quiet():
        raise KeyError("passes")
    assert (sys.stdout, sys.stderr, logging.root.manager.disable, list(warnings.filters)) == before
    print("printed")
    os.write(2, b"native\n")
    assert capfd.readouterr() == ("printed\n", "native\n")


def test_silence_inside_silence(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet():
        with quiet():
            print("inner")
        print("outer")
        os.write(1, b"native\n")
    print("after")
    assert capfd.readouterr() == ("after\n", "")
