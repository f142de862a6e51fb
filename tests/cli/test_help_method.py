"""`compress --help-method`: what a method and its defences are, and every option with type, range, default, meaning."""

import importlib.util
import json
from typing import Literal

import pytest
from pydantic import Field

from safedeploy.methods.base import Options
from safedeploy.methods.help import _options, parts_help
from safedeploy.methods.registry import DEFENCES, METHODS


@pytest.mark.parametrize("method", METHODS)
def test_every_option_of_every_method_is_described(method):
    (part,) = parts_help(method, [])
    assert [option.name for option in part.options if not option.meaning] == []
    assert all(option.type and option.default for option in part.options)


@pytest.mark.parametrize("defence", DEFENCES)
def test_every_option_of_every_defence_is_described(defence):
    part = parts_help("dense", [defence])[1]
    assert [option.name for option in part.options if not option.meaning] == []
    assert all(option.name.startswith(f"{defence}.") for option in part.options)


@pytest.mark.parametrize("name", [*METHODS, *DEFENCES])
def test_each_says_in_sentences_what_it_is(name):
    part = parts_help(name, [])[0] if name in METHODS else parts_help("dense", [name])[1]
    assert len(part.about) > 30
    assert not part.about.startswith("`")
    assert "\n" not in part.about


class Example(Options):
    count: int = Field(3, ge=1, le=9, description="how many")
    share: float | None = Field(None, gt=0, lt=1, description="how much")
    word: Literal["one", "two"] = Field("one", description="which")
    names: tuple[str, ...] = Field(("a", "b"), min_length=1, description="who")
    whether: bool = Field(True, description="whether")
    either: Literal["auto"] | int = Field("auto", description="a word or a number")


def test_types_ranges_and_defaults_in_words():
    rows = [(one.name, one.type, one.allowed, one.default, one.meaning) for one in _options(Example, "x.")]
    assert rows == [
        ("x.count", "integer", "at least 1, at most 9", "3", "how many"),
        ("x.share", "number", "above 0, below 1", "none", "how much"),
        ("x.word", "word", "one, two", "one", "which"),
        ("x.names", "list of words", "1 or more", "a,b", "who"),
        ("x.whether", "true or false", "", "true", "whether"),
        ("x.either", "word or integer", "auto", "auto", "a word or a number"),
    ]


def test_it_is_printed_without_data_and_without_a_run(typed, home):
    answer = typed("compress", "--data", "no-such.npz", "--method", "rigl", "--help-method")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("--method rigl: the rigged lottery (Evci et al. 2020)")
    for said in ("interval", "at least 2", "100", "steps from one update to the next"):
        assert said in answer.out
    assert list(home.iterdir()) == []


def test_defences_stand_below_the_method_with_the_names_they_are_given_by(typed, home):
    answer = typed("compress", "--method", "dense", "--defence", "label-smoothing", "--help-method")
    assert answer.code == 0
    assert "It takes no options." in answer.out
    assert answer.out.index("--method dense") < answer.out.index("--defence label-smoothing")
    assert "label-smoothing.smoothing" in answer.out


def test_a_recipe_says_which_method(typed, home):
    (home / "r.toml").write_text("[method]\nname = 'magnitude'\n[method.defences.label-smoothing]\n")
    answer = typed("compress", "r.toml", "--help-method", "--json")
    parts = json.loads(answer.out)
    assert [part["typed"] for part in parts] == ["--method magnitude", "--defence label-smoothing"]
    assert [option["name"] for option in parts[0]["options"]] == ["prune_at", "prune_from"]
    assert parts[0]["options"][0] == {
        "name": "prune_at",
        "type": "number",
        "allowed": "above 0, below 1",
        "default": "0.5",
        "meaning": "share of the steps after which the cut is done",
    }


def test_unknown_names_get_the_nearest(typed, home):
    assert "did you mean 'rigl'?" in typed("compress", "--method", "rigll", "--help-method").fault
    assert (
        "did you mean 'label-smoothing'?"
        in typed("compress", "--method", "set", "--defence", "label-smooth", "--help-method").fault
    )


def test_without_torch_it_is_one_line(typed, home, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else found(name, *rest)
    )
    assert "--help-method needs the extra 'train'" in typed("compress", "--method", "set", "--help-method").fault
