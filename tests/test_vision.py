"""torchvision's door: cured where its operators are missing, untouched where they are there."""

import subprocess
import sys

import pytest

WORKS = """
import torch
from safedeploy import vision
models = vision.torchvision("torchvision.models")
vision.torchvision("torchvision.datasets").FashionMNIST
with torch.no_grad():
    assert models.resnet18(num_classes=3).eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 3)
import torchvision
assert vision.torchvision() is torchvision
print(len(vision._fragments))
"""

DECLARED = """
import torch
library = torch.library.Library("torchvision", "FRAGMENT")
for operator in ("nms", "qnms"):
    library.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""

FAILED = """
import contextlib
with contextlib.suppress(RuntimeError):
    import torchvision
"""


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


@pytest.fixture(scope="module")
def operators_load():
    """Whether torchvision's own operators load here, asked without safedeploy."""
    done = subprocess.run([sys.executable, "-c", "import torchvision"], capture_output=True, timeout=120, check=False)
    return done.returncode == 0


def test_torchvision_works_and_is_touched_only_where_its_operators_are_missing(operators_load):
    assert run(WORKS) == ("0" if operators_load else "1")


def test_it_works_after_somebody_elses_failed_import(operators_load):
    assert run(FAILED + WORKS) == ("0" if operators_load else "1")


def test_nothing_is_declared_where_the_operators_are_there(operators_load):
    assert run(WORKS if operators_load else DECLARED + WORKS) == "0"


def test_without_torchvision_the_extra_is_named():
    code = """
import sys
sys.modules["torchvision"] = None
from safedeploy import vision
from safedeploy.errors import UserError
try:
    vision.torchvision("torchvision.models")
except UserError as error:
    print(str(error).split()[-1])
"""
    assert run(code) == "'safedeploy[train]'"
