"""A training cut off at any moment continues to the bits of one that was not."""

import pickle

import pytest
import torch

from safedeploy.errors import UserError
from safedeploy.training import checkpoint
from safedeploy.training.hooks import Hooks
from safedeploy.training.metrics import MetricsLog


class CutOff(Exception):  # noqa: N818
    pass


class CutAt(Hooks):
    """Raises in the middle of a training, where a kill would end it."""

    def __init__(self, step):
        self.step = step

    def after_step(self, training):
        if training.step == self.step:
            raise CutOff


class Counts(Hooks):
    """A method with a state of its own: half a mask, and a count that steers it."""

    def __init__(self, cut=None):
        self.count, self.cut = 0, cut

    def begin(self, training):
        self.after_step(training)

    def after_step(self, training):
        if training.step == self.cut:
            raise CutOff
        self.count += 1
        if self.count % 4 == 1:
            generator = torch.Generator().manual_seed(self.count)
            training.set_masks({"0.weight": torch.rand(24, 12, generator=generator) < 0.5})
            training.log({"event": "masks", "count": self.count})

    def state(self):
        return {"count": self.count}

    def restore(self, state):
        self.count = state["count"]


@pytest.mark.parametrize("cut", [1, 6, 7, 13, 23, 24])
@pytest.mark.parametrize("hooks", [Hooks, Counts])
def test_a_resumed_training_ends_with_the_same_weights_and_the_same_log(small, tmp_path, hooks, cut):
    """24 steps in 4 epochs, cut in the first, at an end, after an end, and before the last checkpoint."""
    whole = small.run_in(tmp_path / "whole", hooks())
    with pytest.raises(CutOff):
        small.run_in(tmp_path / "cut", CutAt(cut) if hooks is Hooks else Counts(cut))
    resumed = small.run_in(tmp_path / "cut", hooks())
    small.assert_same_bits(resumed.weights, whole.weights)
    assert resumed.text == whole.text


def test_a_training_cut_off_twice_does_too(small, tmp_path):
    whole = small.run_in(tmp_path / "whole", Counts())
    for cut in (8, 21):
        with pytest.raises(CutOff):
            small.run_in(tmp_path / "cut", Counts(cut))
    resumed = small.run_in(tmp_path / "cut", Counts())
    small.assert_same_bits(resumed.weights, whole.weights)
    assert resumed.text == whole.text


def test_a_finished_training_is_not_trained_on(small, tmp_path):
    whole = small.run_in(tmp_path, Counts())
    again = small.run_in(tmp_path, Counts(), module=small.network(seed=5))
    small.assert_same_bits(again.weights, whole.weights)
    assert again.text == whole.text


@pytest.mark.parametrize("damage", ["truncated", "empty", "one byte flipped", "not a checkpoint", "code inside"])
def test_a_damaged_newest_checkpoint_is_passed_over(small, tmp_path, damage):
    whole = small.run_in(tmp_path / "whole", Counts())
    with pytest.raises(CutOff):
        small.run_in(tmp_path / "cut", Counts(20))
    newest = sorted((tmp_path / "cut" / "checkpoints").glob("*.pt"))[-1]
    content = newest.read_bytes()
    if damage == "truncated":
        newest.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        newest.write_bytes(b"")
    elif damage == "one byte flipped":
        weights = checkpoint.newest(tmp_path / "cut" / "checkpoints")["training"]["module"]["0.weight"]
        at = content.index(weights.numpy().tobytes())
        newest.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    elif damage == "not a checkpoint":
        newest.write_bytes(pickle.dumps({"training": {}}))
    else:
        torch.save({"training": Bomb()}, newest)
    resumed = small.run_in(tmp_path / "cut", Counts())
    small.assert_same_bits(resumed.weights, whole.weights)
    assert resumed.text == whole.text


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a checkpoint's code was run",))


def test_two_checkpoints_are_kept_and_nothing_else(small, tmp_path):
    small.run_in(tmp_path)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["000000018.pt", "000000024.pt"]


def test_no_checkpoint_is_none(tmp_path):
    assert checkpoint.newest(tmp_path) is None
    assert checkpoint.newest(tmp_path / "nowhere") is None


def test_a_log_that_was_lost_is_begun_again_and_not_filled_with_zeros(small, tmp_path):
    with pytest.raises(CutOff):
        small.run_in(tmp_path, CutAt(14))
    (tmp_path / "metrics.jsonl").unlink()
    resumed = small.run_in(tmp_path)
    assert [line["epoch"] for line in resumed.metrics] == [3, 4]


def test_a_log_continues_after_what_is_kept_of_it(tmp_path):
    log = MetricsLog(tmp_path / "m.jsonl")
    log({"a": 1})
    kept = log.position
    log({"b": 2})
    log.close()
    log = MetricsLog(tmp_path / "m.jsonl", keep_bytes=kept)
    log({"c": 3})
    log.close()
    assert (tmp_path / "m.jsonl").read_text() == '{"a": 1}\n{"c": 3}\n'


def test_every_epoch_is_logged_with_its_loss_rate_and_validation_accuracy(small, tmp_path):
    made = small.run_in(tmp_path)
    assert [line["epoch"] for line in made.metrics] == [1, 2, 3, 4]
    assert [line["learning_rate"] for line in made.metrics] == pytest.approx([0.05, 0.05, 0.005, 0.0005])
    assert made.metrics[-1]["validation_accuracy"] > 0.8
    assert not made.training.module.training


def test_a_training_that_diverges_is_one_line(small, tmp_path):
    with pytest.raises(UserError, match="the training diverged before step 6: lower the learning rate") as caught:
        small.run_in(tmp_path, recipe=small.recipe.model_copy(update={"learning_rate": 1e30}))
    assert "\n" not in str(caught.value)
    assert checkpoint.newest(tmp_path / "checkpoints") is None  # no checkpoint to resume into the same


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_resumed_training_on_a_gpu_has_its_masks_there(small, tmp_path):
    recipe = small.recipe.model_copy(update={"device": "cuda"})
    with pytest.raises(CutOff):
        small.run_in(tmp_path, Counts(8), recipe)
    resumed = small.run_in(tmp_path, Counts(), recipe)
    assert all(mask.is_cuda for mask in resumed.training.masks.values())
