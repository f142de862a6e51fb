"""The split: one role an example, balanced, drawn by seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safedeploy.data.split import ROLES, draw_split, read_split
from safedeploy.errors import UserError
from safedeploy.recipe import SplitRecipe

SIZES = st.lists(st.integers(50, 300), min_size=2, max_size=6)
SEEDS = st.integers(0, 2**31)


def labels_of(sizes):
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))


@settings(max_examples=50, deadline=None)
@given(sizes=SIZES, seed=SEEDS, with_official_test=st.booleans())
def test_roles_are_disjoint_and_cover_every_example(sizes, seed, with_official_test):
    labels = labels_of(sizes)
    official = np.arange(labels.size) < 30 if with_official_test else None
    split = draw_split(labels, official, SplitRecipe(), seed, "f")
    together = np.concatenate([split.indices(role) for role in ROLES])
    assert sorted(together.tolist()) == list(range(labels.size))


@settings(max_examples=50, deadline=None)
@given(sizes=SIZES, seed=SEEDS)
def test_members_and_nonmembers_are_equally_many_in_every_class(sizes, seed):
    labels = labels_of(sizes)
    split = draw_split(labels, None, SplitRecipe(), seed, "f")
    for part in ("known", "eval"):
        members, nonmembers = (np.bincount(labels[split.indices(f"{side}_{part}")]) for side in ("member", "nonmember"))
        assert members.tolist() == nonmembers.tolist()


@settings(max_examples=50, deadline=None)
@given(sizes=SIZES, seed=SEEDS)
def test_every_role_has_the_class_balance_of_the_whole(sizes, seed):
    labels = labels_of(sizes)
    shares = SplitRecipe()
    split = draw_split(labels, None, shares, seed, "f")
    for role, share in {"member_known": shares.known, "nonmember_eval": shares.evaluation, "test": shares.test}.items():
        counts = np.bincount(labels[split.indices(role)], minlength=len(sizes))
        assert np.all(np.abs(counts - share * np.array(sizes)) < 1)


@settings(max_examples=20, deadline=None)
@given(sizes=SIZES, seed=SEEDS)
def test_the_same_seed_gives_the_same_split_and_another_seed_another(sizes, seed):
    labels = labels_of(sizes)
    first, again, other = (draw_split(labels, None, SplitRecipe(), s, "f").role for s in (seed, seed, seed + 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_official_test_examples_are_test_and_nothing_else():
    labels = labels_of([100, 100])
    official = np.arange(200) < 60
    split = draw_split(labels, official, SplitRecipe(), 0, "f")
    assert np.array_equal(split.indices("test"), np.flatnonzero(official))


def test_a_class_too_small_for_every_role_is_named_with_what_it_takes():
    labels = np.repeat([0, 1], [100, 5])
    with pytest.raises(UserError, match=r"class 'dog' has 5 examples .* takes 10;") as caught:
        draw_split(labels, None, SplitRecipe(), 0, "f", class_names=("cat", "dog"))
    assert "\n" not in str(caught.value)
    draw_split(np.repeat([0, 1], [100, 10]), None, SplitRecipe(), 0, "f")
    with pytest.raises(UserError, match="class 1 has 9"):
        draw_split(np.repeat([0, 1], [100, 9]), None, SplitRecipe(), 0, "f")


def test_a_split_read_back_is_the_one_written(tmp_path):
    split = draw_split(labels_of([60, 60]), None, SplitRecipe(), 3, "abc")
    split.write(tmp_path / "split.npz")
    again = read_split(tmp_path / "split.npz")
    assert np.array_equal(again.role, split.role)
    assert again.fingerprint == "abc"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"\x80\x04K\x01."])
def test_a_damaged_split_is_one_line(tmp_path, content):
    (tmp_path / "split.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"split\.npz") as caught:
        read_split(tmp_path / "split.npz")
    assert "\n" not in str(caught.value)


def test_a_split_of_other_roles_or_impossible_ones_is_refused(tmp_path):
    path = tmp_path / "split.npz"
    np.savez(path, role=np.zeros(3, np.int8), roles=np.array(["in", "out"]), fingerprint=np.array("f"))
    with pytest.raises(UserError, match="another version"):
        read_split(path)
    np.savez(path, role=np.full(3, 99, np.int8), roles=np.array(ROLES), fingerprint=np.array("f"))
    with pytest.raises(UserError, match="damaged"):
        read_split(path)
