"""Halves of a pool: complementary, balanced class by class, and blind to who trained the audited model."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from safedeploy.data.halves import POOL, half, half_split
from safedeploy.data.split import MEMBERS, ROLES, Split, draw_split
from safedeploy.recipe import SplitRecipe

LABELS = np.repeat(np.arange(10), 60)


def pool_labels(split: Split) -> np.ndarray:
    return LABELS[split.indices(*POOL)]


def drawn(seed: int) -> Split:
    return draw_split(LABELS, None, SplitRecipe(), seed, "fingerprint")


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(0, 2**63 - 1), st.integers(0, 40))
def test_a_pair_holds_every_sample_once_and_half_of_every_class(labels, seed, pair):
    y = np.array(labels)
    first, second = (half(y, 2 * pair + other, seed) for other in (0, 1))
    np.testing.assert_array_equal(first, ~second)
    assert abs(int(first.sum()) - int(second.sum())) <= 1
    for label in np.unique(y):
        assert abs(int(first[y == label].sum()) - int(second[y == label].sum())) <= 1


def test_every_sample_is_in_exactly_half_of_an_even_number():
    member = np.stack([half(LABELS, number, 5) for number in range(12)])
    np.testing.assert_array_equal(member.sum(axis=0), 6)


def test_pairs_and_seeds_differ():
    drawn = [half(LABELS, 0, 5), half(LABELS, 2, 5), half(LABELS, 0, 6)]
    shared = [(a & b).sum() / a.sum() for a, b in ((drawn[0], drawn[1]), (drawn[0], drawn[2]), (drawn[1], drawn[2]))]
    assert all(0.4 < share < 0.6 for share in shared)


def test_halves_overlap_the_targets_members_by_a_half():
    """Trap: complements of the target's own split made offline scores anti-informative (AUC .43)."""
    overlaps = []
    for seed in range(20):
        split = drawn(seed)
        is_member = np.isin(split.role[split.indices(*POOL)], [ROLES.index(role) for role in MEMBERS])
        overlaps += [is_member[half(pool_labels(split), number, seed)].mean() for number in (0, 1, 2, 3)]
    assert abs(np.mean(overlaps) - 0.5) < 1e-9  # complementary pairs average to exactly a half
    assert np.std(overlaps) < 4 * 0.5 / np.sqrt(480)
    assert len(set(overlaps)) > 5  # random, not stratified by membership


def test_swapping_who_was_a_member_changes_no_half():
    split = drawn(3)
    swapped = split.role.copy()
    for mine, theirs in (("member_known", "nonmember_known"), ("member_eval", "nonmember_eval")):
        swapped[split.role == ROLES.index(mine)] = ROLES.index(theirs)
        swapped[split.role == ROLES.index(theirs)] = ROLES.index(mine)
    other = Split(swapped, split.fingerprint)
    for number in range(4):
        np.testing.assert_array_equal(half(pool_labels(split), number, 3), half(pool_labels(other), number, 3))


@settings(max_examples=25)
@given(st.integers(0, 1000), st.floats(0.1, 0.3))
def test_a_halfs_roles_keep_the_runs_shares_and_touch_no_other_role(seed, known):
    shares = SplitRecipe(known=known, evaluation=0.4 - known, validation=0.1, test=0.1)
    split = draw_split(LABELS, None, shares, seed, "fingerprint")
    inside = half(pool_labels(split), 0, seed)
    new = half_split(split, LABELS, inside, seed)
    pool = split.indices(*POOL)
    np.testing.assert_array_equal(new.indices(*POOL), pool)
    np.testing.assert_array_equal(new.indices(*MEMBERS), pool[inside])
    elsewhere = np.setdiff1d(np.arange(LABELS.size), pool)
    np.testing.assert_array_equal(new.role[elsewhere], split.role[elsewhere])
    for role in POOL:
        per_class = np.bincount(LABELS[new.indices(role)], minlength=10)
        wanted = np.bincount(LABELS[split.indices(role)], minlength=10)
        assert np.abs(per_class - wanted).max() <= 2
