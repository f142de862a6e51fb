"""The files of a classifier of texts: int64 token numbers, the tokeniser beside them, the same answers everywhere."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from safedeploy.artifacts.base import FileArtifact
from safedeploy.artifacts.executorch import ExecuTorchArtifact
from safedeploy.artifacts.inspect import inspect
from safedeploy.artifacts.onnx import OnnxArtifact
from safedeploy.data.tokeniser import Tokeniser, fit
from safedeploy.errors import UserError
from safedeploy.export.bundle import export_bundle
from safedeploy.export.encoding.encode import encode
from safedeploy.export.onnx import export_onnx
from safedeploy.export.questions import Known, Questions
from safedeploy.export.targets import Target
from safedeploy.export.verify_bundle import verify_bundle
from safedeploy.hub import transformers
from safedeploy.models.text import TextClassifier
from safedeploy.results import Manifest

CLASSES, LENGTH = 2, 8
GOOD, BAD = ("fine", "lovely", "great"), ("awful", "dull", "poor")


def texts(count: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Two of three words tell the class."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, CLASSES, count)
    words = [[str(generator.choice((BAD, GOOD)[label])) for _ in range(2)] for label in y]
    return [f"a {first} film, {second}" for first, second in words], y


@pytest.fixture(scope="module")
def tokeniser() -> Tokeniser:
    return fit(texts(120, 0)[0], LENGTH)


@pytest.fixture(scope="module")
def module(tokeniser: Tokeniser) -> nn.Module:
    """A small trained BERT, three of four weights of its embeddings and layers at zero."""
    library = transformers("the test")
    config = library.BertConfig(
        vocab_size=tokeniser.vocabulary,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=LENGTH,
        num_labels=CLASSES,
        attn_implementation="eager",
    )
    torch.manual_seed(0)
    model = TextClassifier(library.BertForSequenceClassification(config), 0, tokeniser.vocabulary, LENGTH)
    layers = [part.weight for part in model.modules() if isinstance(part, nn.Linear | nn.Embedding)]
    masks = [torch.rand(weight.shape) < 0.25 for weight in layers]
    said, y = texts(120, 0)
    x, labels = torch.from_numpy(tokeniser.ids(said)), torch.from_numpy(y)
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(40):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), labels).backward()
        optimiser.step()
        with torch.no_grad():
            for weight, mask in zip(layers, masks, strict=True):
                weight.mul_(mask)
    with torch.no_grad():
        for weight in layers:
            weight.add_(0.0)  # zeros of one sign
    return model.eval()


def target(*files: str) -> Target:
    return Target.model_validate({"name": "texts", "description": "", "files": list(files)})


def exported(module: nn.Module, tokeniser: Tokeniser, folder: Path, *files: str) -> Manifest:
    said, y = texts(80, 1)
    x = tokeniser.ids(said)
    return export_bundle(
        module,
        folder,
        target(*files),
        model_name="bert",
        preprocessing=tokeniser,
        class_names=("bad", "good"),
        calibration=x[:30],
        x=x[30:],
        y=y[30:],
    )


@pytest.fixture(scope="module")
def bundle(module, tokeniser, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "texts"
    exported(module, tokeniser, folder, "model.onnx", "model.int8.onnx")
    return folder


def test_an_app_needs_the_bundle_alone(bundle, module):
    """Its own tokenizer.json and stock ONNX Runtime answer as torch does."""
    from tokenizers import Tokenizer

    manifest = json.loads((bundle / "manifest.json").read_text())
    how = manifest["preprocessing"]
    assert (manifest["input_dtype"], manifest["input_layout"], manifest["input_shape"]) == ("int64", "NL", [LENGTH])
    assert (how["kind"], how["length"]) == ("text", LENGTH)
    reader = Tokenizer.from_file(str(bundle / how["file"]))
    x = np.array([reader.encode(text).ids for text in ("a lovely film, great", "dull dull", "")], dtype=np.int64)
    session = onnxruntime.InferenceSession(bundle / "model.onnx")
    (given,) = session.run(["logits"], {"input": x})
    with torch.no_grad():
        assert np.abs(given - module(torch.from_numpy(x)).numpy()).max() < 1e-5
    assert given.argmax(1)[:2].tolist() == [1, 0]


def test_int8_keeps_the_classes_and_rounds_every_large_weight(bundle):
    files = {file.name: file for file in Manifest.read(bundle / "manifest.json").files}
    assert files["model.int8.onnx"].check.top1_agreement == 1.0
    assert OnnxArtifact(bundle / "model.int8.onnx").quantised
    large = [one for one in inspect(bundle / "model.int8.onnx").tensors if np.prod(one.shape) >= 32 * 32]
    assert len(large) >= 12
    assert {one.dtype for one in large} == {"int8"}


def test_an_encoded_file_answers_bit_for_bit_as_the_plain_one(module, tmp_path):
    plain, coded = tmp_path / "plain.onnx", tmp_path / "coded.onnx"
    export_onnx(module, (LENGTH,), plain, opset=20, model_name="bert")
    made = encode(plain, coded)
    assert made.codecs
    assert made.after_bytes < 0.7 * made.before_bytes
    x = np.random.default_rng(0).integers(0, 10, (5, LENGTH))
    answers = [onnxruntime.InferenceSession(file).run(None, {"input": x})[0] for file in (plain, coded)]
    assert np.array_equal(*answers)


def require_same_inside(artifact: FileArtifact, module: nn.Module, tokeniser: Tokeniser) -> None:
    """The gradients of the embedding and of the last layer are those of torch, for a sample among others."""
    x, y = tokeniser.ids(texts(4, 2)[0]), np.array([0, 1, 0, 1])
    norms = artifact.unpack().inner(x, y).gradient_norms
    embedding, last = module.encoder.bert.embeddings.word_embeddings, module.encoder.classifier
    for row in range(4):
        loss = nn.functional.cross_entropy(module(torch.from_numpy(x[row : row + 1])), torch.tensor([y[row]]))
        gradients = torch.autograd.grad(loss, [embedding.weight, last.weight, last.bias])
        wanted = [gradients[0].norm(), torch.cat([part.flatten() for part in gradients[1:]]).norm()]
        assert norms[row, [0, -1]] == pytest.approx([float(one) for one in wanted], rel=1e-3)


def test_the_file_s_white_box_is_torch_s(bundle, module, tokeniser):
    require_same_inside(OnnxArtifact(bundle / "model.onnx"), module, tokeniser)
    found = inspect(bundle / "model.onnx")
    assert (found.input_shape, found.tokens) == ([LENGTH], True)


def test_a_changed_tokeniser_is_noticed(bundle, module, tokeniser, tmp_path):
    import shutil

    copy = shutil.copytree(bundle, tmp_path / "texts")
    said, y = texts(20, 3)
    x = tokeniser.ids(said)

    def answer(asked: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return module(torch.from_numpy(asked)).numpy()

    questions = Questions(x, "20 texts", Known(y, answer(x), answer), tokens=True)

    def verified() -> list[str]:
        manifest = Manifest.read(copy / "manifest.json")
        only = manifest.model_copy(update={"files": manifest.files[:1]})
        (copy / "model.int8.onnx").unlink(missing_ok=True)
        return verify_bundle(copy, only, target("model.onnx"), questions, not_checked=[]).failures

    assert verified() == []
    (copy / "tokenizer.json").write_text(tokeniser.content.replace('"film"', '"book"'))
    assert "'tokenizer.json', which turns text into tokens, is missing or changed since export" in verified()[0]


def test_a_format_that_text_cannot_have_is_told_and_not_made(module, tokeniser, tmp_path):
    with pytest.raises(UserError, match=r"wants nothing but model\.int8\.pte, which cannot be made: XNNPACK"):
        exported(module, tokeniser, tmp_path / "texts", "model.int8.pte")
    manifest = exported(module, tokeniser, tmp_path / "texts", "model.onnx", "model.int8.pte")
    assert [file.name for file in manifest.files] == ["model.onnx"]
    assert "attention's scores" in manifest.not_made["model.int8.pte"]


@pytest.mark.slow
def test_executorch_answers_as_torch_does(module, tokeniser, tmp_path):
    exported(module, tokeniser, tmp_path / "texts", "model.pte")
    artifact = ExecuTorchArtifact(tmp_path / "texts" / "model.pte", threads=1)
    x = tokeniser.ids(texts(5, 4)[0])
    assert artifact.tokens
    with torch.no_grad():
        assert np.abs(artifact.logits(x) - module(torch.from_numpy(x)).numpy()).max() < 1e-4
    for number in (2.0**24, -1.0):
        with pytest.raises(UserError, match="ExecuTorch fails on 1 inputs"):
            artifact.answers(np.full((1, LENGTH), number, dtype=np.float32))
    require_same_inside(artifact, module, tokeniser)
