"""The user's own model: found, called with what it takes, tried, and refused in one line where it does not fit."""

import sys
import textwrap

import pytest
import torch

from safedeploy.errors import UserError
from safedeploy.models.zoo import build_model

NETS = """
    import torch
    from torch import nn
    from beside import WIDTH

    def whole(input_shape, classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(input_shape[0] * input_shape[1] * input_shape[2], classes))

    def by_number(number_of_classes=1000):
        return nn.Sequential(nn.Flatten(), nn.Linear(WIDTH, number_of_classes))

    def like_torchvision(*, weights=None, num_classes=1000, **others):
        return by_number(num_classes)

    def nothing_to_say():
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(3))

    class AsClass(nn.Module):
        def __init__(self, classes):
            super().__init__()
            self.head = nn.Linear(WIDTH, classes)

        def forward(self, x):
            return self.head(x.flatten(1))

    def always_ten():
        return by_number(10)

    def wrong_input(classes):
        return nn.Linear(999, classes)

    def gives_a_tuple(classes):
        class Pair(AsClass):
            def forward(self, x):
                return super().forward(x), x
        return Pair(classes)

    def gives_labels(classes):
        class Labels(nn.Module):
            def forward(self, x):
                return torch.zeros(len(x), classes, dtype=torch.int64)
        return Labels()

    def returns_nothing(classes):
        pass

    def raises(classes):
        raise ValueError("first line\\nsecond line")

    not_a_function = 3
"""


@pytest.fixture
def nets(tmp_path):
    (tmp_path / "nets.py").write_text(textwrap.dedent(NETS))
    (tmp_path / "beside.py").write_text("WIDTH = 2 * 4 * 4\n")
    yield tmp_path / "nets.py"
    for name in ("nets", "beside"):
        sys.modules.pop(name, None)


def build(name, seed=0):
    return build_model(name, (2, 4, 4), 3, seed)


@pytest.mark.parametrize("function", ["whole", "by_number", "like_torchvision", "nothing_to_say", "AsClass"])
def test_a_factory_gets_what_it_takes(nets, function):
    model = build(f"{nets}:{function}")
    assert model.training
    assert model(torch.zeros(5, 2, 4, 4)).shape == (5, 3)


def test_a_module_of_the_working_folder_can_be_named_like_a_package(nets, monkeypatch):
    monkeypatch.chdir(nets.parent)
    path = list(sys.path)
    assert build("nets:whole")(torch.zeros(1, 2, 4, 4)).shape == (1, 3)
    assert build("nets.py:whole")(torch.zeros(1, 2, 4, 4)).shape == (1, 3)
    assert sys.path == path


def test_a_factorys_weights_depend_on_the_seed_alone(nets):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    for function in ("whole", "nothing_to_say"):
        first, again, other = (build(f"{nets}:{function}", seed)[1].weight for seed in (1, 1, 2))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("always_ten", r"it gave a float32 tensor of shape \(2, 10\); it must give logits of shape \(2, 3\)"),
        ("wrong_input", r"on input of shape \(2, 2, 4, 4\) it failed with RuntimeError"),
        ("gives_a_tuple", "it gave a tuple; it must give logits"),
        ("gives_labels", "it gave a int64 tensor"),
        ("returns_nothing", r"returned None; it must return a torch\.nn\.Module"),
        ("raises", "calling it failed with ValueError: first line$"),
        ("not_a_function", "unknown function of .* 'not_a_function'"),
        ("by_nmber", "did you mean 'by_number'"),
    ],
)
def test_a_factory_that_does_not_fit_is_told_what_came_back(nets, function, message):
    with pytest.raises(UserError, match=message) as caught:
        build(f"{nets}:{function}")
    assert "\n" not in str(caught.value)


def test_a_file_or_package_that_cannot_be_imported_is_one_line(tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("def net(:\n")
    for name, message in {
        f"{broken}:net": "running the file failed with SyntaxError",
        f"{tmp_path}/nowhere.py:net": "no such file",
        "no_such_package.nets:net": "importing it failed with ModuleNotFoundError: No module named 'no_such_package'",
        ":net": "importing it failed",
    }.items():
        with pytest.raises(UserError, match=message) as caught:
            build(name)
        assert "\n" not in str(caught.value)
