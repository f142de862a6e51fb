"""What `--method NAME` names, and what a wrong name or option gets."""

import pytest

from safedeploy.errors import UserError
from safedeploy.methods.registry import METHODS, make_method, read_options
from safedeploy.recipe import MethodRecipe


def fault(name, options=None, density=0.1):
    with pytest.raises(UserError) as caught:
        make_method(MethodRecipe(name=name, density=density, options=options or {}), None)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_methods_have_their_names():
    assert {"dense", "magnitude", "mcmia", "rigl", "safecompress", "set"} <= set(METHODS)


def test_an_unknown_method_gets_the_nearest_name():
    assert fault("safecompres").startswith("unknown method 'safecompres'; did you mean 'safecompress'?")
    assert "magnitude" in fault("xyz")


def test_an_unknown_option_gets_the_nearest_name():
    assert "option of --method set 'intervall'; did you mean 'interval'?" in fault("set", {"intervall": 5})
    assert "'prune_at'" in fault("magnitude", {"prune": 0.5})


def test_dense_takes_no_options_and_no_density():
    assert fault("dense", {"interval": 5}, 1.0) == "--method dense takes no options: leave out 'interval'"
    assert fault("dense", density=0.1) == "--method dense keeps every weight: leave out --density 0.1"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("set", {"interval": 1}),
        ("set", {"rate_start": 1.5}),
        ("rigl", {"stop_at": 0}),
        ("magnitude", {"prune_at": 1}),
        ("safecompress", {"attacker": "grey"}),
        ("safecompress", {"strategies": ["magnitud/gradient"]}),
        ("safecompress", {"strategies": []}),
        ("safecompress", {"test_samples": 3}),
        ("safecompress", {"exponent": float("nan")}),
    ],
)
def test_an_option_out_of_range_is_named(name, options):
    assert fault(name, options).startswith(f"--method {name}: {next(iter(options))}: ")


def test_a_misspelt_strategy_gets_the_nearest():
    assert "did you mean 'magnitude/gradient'?" in fault("safecompress", {"strategies": ["magnitud/gradient"]})


def test_options_as_the_command_line_gives_them_are_words():
    read = read_options(MethodRecipe(name="safecompress", options={"interval": "20", "strategies": "set/random"}))
    assert read.interval == 20
    assert list(read.strategies) == ["set/random"]


def test_the_published_defaults():
    rigl = read_options(MethodRecipe(name="rigl"))
    assert (rigl.interval, rigl.rate_start, rigl.rate_end, rigl.stop_at) == (100, 0.3, 0.0, 0.75)
    assert set(read_options(MethodRecipe(name="safecompress")).strategies) == {
        f"{pruning}/{growing}" for pruning in ("magnitude", "threshold") for growing in ("gradient", "random")
    }
