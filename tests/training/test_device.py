"""Where training runs: what is not there is said in one line."""

import pytest
import torch

from safedeploy.errors import UserError
from safedeploy.training.device import make_accelerator
from safedeploy.training.evaluate import accuracy, predict


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_one_line():
    with pytest.raises(UserError, match="--device cuda: no such device here; use --device auto or cpu"):
        make_accelerator("cuda", "float32")


def test_float16_on_a_cpu_is_one_line():
    with pytest.raises(UserError, match="float16 needs a GPU; use float32 or bfloat16"):
        make_accelerator("cpu", "float16")


def test_an_earlier_training_s_precision_does_not_stay():
    assert make_accelerator("cpu", "bfloat16").mixed_precision == "bf16"
    assert make_accelerator("cpu", "float32").mixed_precision == "no"
    assert make_accelerator("cpu", "float32").device.type == "cpu"


def test_bfloat16_learns_too(small, tmp_path):
    made = small.run_in(tmp_path, recipe=small.recipe.model_copy(update={"precision": "bfloat16"}))
    assert made.metrics[-1]["validation_accuracy"] > 0.8
    assert all(value.dtype == torch.float32 for value in made.weights.values() if value.is_floating_point())


def test_answers_do_not_depend_on_the_batch_size_and_leave_the_mode(small):
    module = small.network().train()
    x, y = small.blobs(50)
    statistics = module[1].running_mean.clone()
    torch.testing.assert_close(predict(module, x, 7), predict(module, x, 50))
    assert module.training
    assert torch.equal(module[1].running_mean, statistics)
    right = sum(int(module.eval()(row[None]).argmax() == label) for row, label in zip(x, y, strict=True))
    assert accuracy(module, x, y) == right / 50
    assert not module.training
