"""The zoo: known sizes, the same weights from the same seed, and graphs that export."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from safedeploy.errors import UserError
from safedeploy.models.zoo import build_model, model_names
from safedeploy.vision import torchvision


def parameters(model):
    return sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize(
    ("name", "shape", "classes", "count"),
    [
        ("lenet5", (1, 28, 28), 10, 61_706),  # LeCun's with full connections from S2 to C3
        ("mlp", (446,), 30, 446 * 256 + 256 + 256 * 128 + 128 + 128 * 30 + 30),
        ("alexnet", (3, 32, 32), 10, 2_472_266),  # published with the CIFAR variants of these names
        ("vgg16", (3, 32, 32), 10, 14_728_266),
        ("resnet18", (3, 32, 32), 10, 11_173_962),
    ],
)
def test_the_small_image_variants_have_their_published_sizes(name, shape, classes, count):
    assert parameters(build_model(name, shape, classes, 0)) == count


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18"])
def test_large_images_get_torchvisions_own_model(name):
    ours = build_model(name, (3, 96, 96), 7, 0).eval()
    theirs = getattr(torchvision("torchvision.models"), name)(num_classes=7).eval()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 20, 44), (4, 64, 64)])
@pytest.mark.parametrize("name", model_names())
def test_every_model_answers_for_every_image_size(name, shape):
    model = build_model(name, shape, 5, 0)
    assert model.training
    with torch.no_grad():
        logits = model.eval()(torch.zeros(2, *shape))
    assert logits.shape == (2, 5)
    assert logits.isfinite().all()


@pytest.mark.parametrize("name", ["lenet5", "mlp", "mobilenet_v2"])
def test_weights_depend_on_the_seed_alone_and_no_global_state_moves(name):
    torch.manual_seed(1)
    before = (torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate())  # noqa: NPY002
    first = build_model(name, (1, 28, 28), 10, 3).state_dict()
    after = (torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate())  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    torch.manual_seed(2)
    again, other = (build_model(name, (1, 28, 28), 10, seed).state_dict() for seed in (3, 4))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", model_names())
def test_a_fresh_model_passes_its_signal_on(name):
    """Logits of random images differ and stay of moderate size: neither a dead nor an exploding start."""
    model = build_model(name, (3, 32, 32), 10, 0)
    x = torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = model(x)
    assert 1e-4 < logits.std(dim=0).mean() < 10


@pytest.mark.parametrize("name", model_names())
def test_hooks_see_what_each_layer_gave_and_backward_hooks_work(name):
    model = build_model(name, (3, 32, 32), 4, 0).eval()
    kept, copied, gradients = {}, {}, set()

    def keep(layer):
        def hook(_module, _inputs, output):
            kept[layer], copied[layer] = output, output.detach().clone()

        return hook

    for layer, module in model.named_modules():
        if not list(module.children()):
            module.register_forward_hook(keep(layer))
            module.register_full_backward_hook(lambda *_, layer=layer: gradients.add(layer))
    model(torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()).sum().backward()
    assert all(torch.equal(kept[layer], copied[layer]) for layer in kept)
    assert gradients == set(kept)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32)])
@pytest.mark.parametrize("name", model_names())
def test_every_model_exports_with_a_dynamic_batch(name, shape):
    model = build_model(name, shape, 6, 0).eval()
    batch = torch.export.Dim("batch", min=1, max=1024)
    exported = torch.export.export(model, (torch.zeros(2, *shape),), dynamic_shapes=({0: batch},)).module()
    x = torch.randn(5, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(exported(x), model(x), atol=1e-5)
        assert exported(x[:1]).shape == (1, 6)


@pytest.mark.parametrize("name", model_names())
def test_the_last_layer_is_linear(name):
    *_, last = (module for module in build_model(name, (3, 32, 32), 9, 0).modules() if not list(module.children()))
    assert isinstance(last, nn.Linear)
    assert last.out_features == 9


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("resnet", (3, 32, 32), "unknown model 'resnet'; did you mean 'resnet18'"),
        ("lenet5", (446,), "lenet5 wants images; this data has 446 columns: use mlp"),
        ("resnet18", (3, 4, 40), "at least 8 × 8 pixels; these have 4 × 40: use mlp"),
        ("net.py", (3, 32, 32), "say which function of the file builds the model, as net.py:function"),
    ],
)
def test_a_model_that_cannot_be_is_refused_in_one_line(name, shape, message):
    with pytest.raises(UserError, match=message) as caught:
        build_model(name, shape, 10, 0)
    assert "\n" not in str(caught.value)
