"""The pattern library against kernels small enough to follow by hand."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from safedeploy.sparsity.patterns import LIBRARY, learned_library
from safedeploy.sparsity.structure import masks_by_magnitude, projected, structured


def kernel(*places, centre=0.1):
    """A 3 x 3 kernel, 1 at these of the 9 places."""
    values = torch.full((9,), 0.01)
    values[4] = centre
    values[list(places)] = 1.0
    return values.view(3, 3)


def test_the_most_frequent_patterns_are_learned_with_their_centre():
    """Three kernels with 0, 1, 2 and two with 6, 7, 8, whose centres are small and stay all the same."""
    weights = torch.stack([kernel(0, 1, 2)] * 3 + [kernel(6, 7, 8)] * 2).view(5, 1, 3, 3)
    library = learned_library([weights]).view(-1, 9).int().tolist()
    assert library == [[1, 1, 1, 0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0, 1, 1, 1]]


def test_a_kernel_gets_the_pattern_that_keeps_most_of_it():
    module = nn.Sequential(nn.Conv2d(2, 2, 3, bias=False), nn.Flatten(), nn.Linear(2, 2))
    with torch.no_grad():
        module[0].weight.copy_(
            torch.stack([kernel(0, 1, 2), kernel(0, 1, 2), kernel(6, 7, 8), kernel(6, 7, 8)]).view(2, 2, 3, 3)
        )
    units = structured(module, (2, 3, 3), "pattern")
    others = {name: value.detach().clone() for name, value in module.named_parameters()}
    others["0.weight"][0, 0] = kernel(6, 8, 3)  # 6 and 8 are of the second pattern
    mask = units.spread({"0.weight": torch.ones(4).bool(), "2.weight": torch.ones(4).bool()}, others)["0.weight"]
    assert mask[0, 0].int().flatten().tolist() == [0, 0, 0, 0, 1, 0, 1, 1, 1]
    assert mask[0, 1].int().flatten().tolist() == [1, 1, 1, 0, 1, 0, 0, 0, 0]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 99))
def test_a_library_has_at_most_eight_patterns_of_four_places_with_the_centre(outputs, inputs, seed):
    weights = torch.randn(outputs, inputs, 3, 3, generator=torch.Generator().manual_seed(seed))
    library = learned_library([weights])
    assert 1 <= len(library) <= LIBRARY
    assert len(library.unique(dim=0)) == len(library)
    assert (library.flatten(1).sum(dim=1) == 4).all()
    assert library[:, 1, 1].all()


def test_kernels_of_zeros_have_no_say():
    weights = torch.zeros(9, 1, 3, 3)
    weights[0, 0] = kernel(0, 2, 6)
    assert learned_library([weights]).int().flatten().tolist() == [1, 0, 1, 0, 1, 0, 1, 0, 0]
    assert learned_library([torch.zeros(2, 2, 3, 3)]).sum() == 4


def test_patterns_at_a_density_below_four_ninths_drop_whole_kernels_and_other_layers_lose_single_weights():
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Conv2d(16, 8, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8, 4)
    )
    masks = masks_by_magnitude(module, (8, 3, 3), 0.2, "pattern")
    kernels = masks["0.weight"].flatten(2).sum(dim=2)
    assert set(kernels.unique().tolist()) == {0, 4}
    total = sum(int(mask.sum()) for mask in masks.values())
    everything = sum(mask.numel() for mask in masks.values())
    assert abs(total - 0.2 * everything) <= 4
    assert 0 < int(masks["2.weight"].sum()) < 128


def test_a_projection_keeps_to_the_library_it_is_given():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    library = torch.tensor([[1, 1, 1, 0, 1, 0, 0, 0, 0]]).bool().view(1, 3, 3)
    units = structured(module, (4, 3, 3), "pattern", library)
    mask = projected(units, dict(module.named_parameters()), 0.4)["0.weight"]
    assert (mask[mask.flatten(2).any(dim=2)] == library[0]).all()
