"""A smaller .pte: constants without keys, scales that a zip takes as few words; same answers, same weights."""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from safedeploy.artifacts.executorch import ExecuTorchArtifact
from safedeploy.artifacts.pte.contents import tensors
from safedeploy.artifacts.pte.program import read_program
from safedeploy.export.executorch import export_int8_pte
from safedeploy.export.pte_inline import inlined
from safedeploy.export.pte_scales import rounded_up
from safedeploy.export.quiet import quiet
from safedeploy.export.targets import Quantisation
from safedeploy.export.trace import trace

SHAPE = (8, 6, 6)


class Net(nn.Module):
    """Sparse, with many channels. twice: its convolutions are used twice; apart: in two delegates, around an erf."""

    def __init__(self, *, twice: bool = False, apart: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.twice, self.apart = twice, apart
        self.wide = nn.Conv2d(8, 256, 1)
        self.deep = nn.Conv2d(256, 256, 3, padding=1, groups=256)
        self.narrow = nn.Conv2d(256, 8, 1)
        self.last = nn.Linear(8 * 36, 5)
        for layer in (self.wide, self.deep, self.narrow, self.last):
            layer.weight.data[torch.rand(layer.weight.shape) < 0.8] = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.narrow(torch.relu(self.deep(torch.relu(self.wide(x)))))
        if self.twice:
            x = torch.erf(x) if self.apart else x
            x = self.narrow(torch.relu(self.deep(self.wide(x))))
        return self.last(x.flatten(1))


def lowered(module: nn.Module) -> bytes:
    """As ExecuTorch itself writes it."""
    with quiet():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        program = trace(module, SHAPE, "net", batch=1)
        return to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch().buffer


def stock_int8(module: nn.Module, x: np.ndarray) -> bytes:
    """By ExecuTorch's own quantiser, its scales as it finds them."""
    with quiet(), torch.no_grad():
        from executorch.backends.xnnpack.quantizer import xnnpack_quantizer as xnnpack
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

        config = xnnpack.get_symmetric_quantization_config(is_per_channel=True)
        graph = trace(module, SHAPE, "net", batch=None).module()
        observed = prepare_pt2e(graph, xnnpack.XNNPACKQuantizer().set_global(config))
        observed(torch.from_numpy(x))
        return lowered(convert_pt2e(observed))


def inputs(count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, *SHAPE)).astype(np.float32)


def zipped(content: bytes) -> int:
    return len(zlib.compress(content, 9))


@pytest.fixture(scope="module")
def stock() -> bytes:
    return lowered(Net(twice=True).eval())


def test_constants_without_keys_give_the_same_bits(stock: bytes, tmp_path: Path) -> None:
    (tmp_path / "stock.pte").write_bytes(stock)
    (tmp_path / "ours.pte").write_bytes(inlined(stock))
    answers = [ExecuTorchArtifact(tmp_path / name).logits(inputs(32)) for name in ("stock.pte", "ours.pte")]
    np.testing.assert_array_equal(*answers)
    assert ExecuTorchArtifact(tmp_path / "ours.pte").unpack()


def test_every_stored_tensor_is_still_there(stock: bytes) -> None:
    before, after = list(tensors(stock)), list(tensors(inlined(stock)))
    assert [name for name, _ in before] == [name for name, _ in after]
    for (_, wanted), (_, found) in zip(before, after, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert len(before) >= 8


def test_no_key_is_left_and_a_constant_used_twice_is_stored_once(stock: bytes) -> None:
    before, after = read_program(stock), read_program(inlined(stock))
    assert len(before.named) == 8
    assert not after.named
    for key in before.named:
        assert key.encode() not in inlined(stock)
    assert len(inlined(stock)) < len(stock) - 64 * len(before.named)
    assert zipped(inlined(stock)) < zipped(stock) - 64 * len(before.named)  # 32 random bytes, twice


def test_constants_that_two_delegates_share_keep_their_keys() -> None:
    """Behind each graph they would be stored twice."""
    stock = lowered(Net(twice=True, apart=True).eval())
    assert len(read_program(stock).delegates) == 2
    assert inlined(stock) == stock


def test_a_program_without_keys_stays_as_it_is(stock: bytes) -> None:
    once = inlined(stock)
    assert inlined(once) == once


def test_data_that_no_delegate_reads_by_name_keeps_the_program_as_it_is(stock: bytes) -> None:
    from executorch.exir._serialize._named_data_store import NamedDataStore
    from executorch.exir._serialize._program import deserialize_pte_binary, serialize_pte_binary

    file = deserialize_pte_binary(stock)
    store = NamedDataStore()
    store.merge_named_data_store(file.named_data)
    store.add_named_data("an app's own", b"read at run time", alignment=16)
    file.named_data = store.get_named_data_store_output()
    content = bytes(serialize_pte_binary(file, extract_delegate_segments=True))
    assert inlined(content) == content


@given(scale=st.floats(2.0**-60, 2.0**60, width=32), bits=st.integers(1, 12))
def test_a_scale_is_rounded_up_to_its_bits(scale: float, bits: int) -> None:
    value = torch.tensor([scale], dtype=torch.float32)
    rounded = rounded_up(value, bits)
    mantissa, _ = np.frexp(rounded.numpy())
    assert mantissa * 2**bits == np.rint(mantissa * 2**bits)
    assert 1 <= float(rounded.double() / value.double()) <= 1 + 2.0 ** (1 - bits)
    assert torch.equal(rounded_up(rounded, bits), rounded)


@dataclass(frozen=True)
class Quantised:
    """One model by safedeploy and by ExecuTorch's own quantiser and serialiser; `errors` on inputs of a normal law."""

    contents: tuple[bytes, bytes]
    errors: tuple[np.ndarray, np.ndarray]
    largest: float


@pytest.fixture(scope="module")
def quantised(tmp_path_factory: pytest.TempPathFactory) -> Quantised:
    module, x, folder = Net().eval(), inputs(256), tmp_path_factory.mktemp("int8")
    export_int8_pte(module, SHAPE, folder / "a.pte", x, Quantisation(), model_name="net")
    (folder / "b.pte").write_bytes(stock_int8(module, x))
    files = (folder / "a.pte", folder / "b.pte")
    with torch.no_grad():
        wanted = module(torch.from_numpy(x)).numpy()
    errors = [ExecuTorchArtifact(file).logits(x) - wanted for file in files]
    contents = [file.read_bytes() for file in files]
    return Quantised((contents[0], contents[1]), (errors[0], errors[1]), float(np.abs(wanted).max()))


def require_few_bits(content: bytes) -> None:
    scales = [value for name, value in tensors(content) if name.endswith("weight.scale")]
    assert len(scales) == 4
    for value in scales:
        mantissa, _ = np.frexp(value)
        np.testing.assert_array_equal(mantissa * 32, np.rint(mantissa * 32))


def test_an_int8_program_has_scales_of_few_bits(quantised: Quantised) -> None:
    require_few_bits(quantised.contents[0])


@pytest.mark.slow
def test_a_scale_for_a_whole_weight_has_few_bits_too(tmp_path: Path) -> None:
    how = Quantisation(per_channel=False)
    export_int8_pte(Net().eval(), SHAPE, tmp_path / "a.pte", inputs(64), how, model_name="net")
    require_few_bits((tmp_path / "a.pte").read_bytes())


def test_an_int8_program_is_smaller_than_executorchs_own_and_its_zip_far_more_so(quantised: Quantised) -> None:
    ours, theirs = quantised.contents
    assert len(ours) < 0.95 * len(theirs)
    assert zipped(ours) < 0.8 * zipped(theirs)


def test_the_coarser_scales_cost_no_accuracy_that_can_be_told(quantised: Quantised) -> None:
    """Errors against the float model, beside those of ExecuTorch's own quantiser."""
    ours, theirs = quantised.errors
    assert np.square(ours).mean() < 1.2 * np.square(theirs).mean()
    assert np.abs(ours).max() < 0.1 * quantised.largest
