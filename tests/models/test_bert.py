"""Classifiers of token numbers: bert-tiny, and BERT and RoBERTa out of a folder, against transformers itself."""

from pathlib import Path

import numpy as np
import pytest
import torch

from safedeploy.artifacts.tokens import takes_tokens, token_probes
from safedeploy.artifacts.torch import TorchArtifact
from safedeploy.data.tokeniser import of_model
from safedeploy.errors import UserError
from safedeploy.hub import transformers
from safedeploy.models.zoo import build_model, require_kind

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "news", "[MASK]"]
X = torch.tensor([[2, 4, 6, 3, 0, 0], [2, 5, 5, 6, 4, 3]])


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """A published BERT's folder: weights, configuration, vocabulary."""
    library = transformers("the test")
    config = library.BertConfig(vocab_size=len(WORDS), max_position_embeddings=12, num_labels=3, **SMALL)
    torch.manual_seed(0)
    library.BertForSequenceClassification(config).save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    library.BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    return tmp_path


def own_answers(model: str, folder: Path, x: torch.Tensor, padding: int) -> torch.Tensor:
    """What transformers' own class answers, told by its own kind of mask what is filled up."""
    theirs = getattr(transformers("the test"), model).from_pretrained(folder).eval()
    with torch.no_grad():
        return theirs(input_ids=x, attention_mask=(x != padding).long()).logits


def test_bert_tiny_is_drawn_from_the_seed_and_does_not_see_what_is_filled_up():
    model, again, other = (build_model("bert-tiny", (10,), 4, seed).eval() for seed in (1, 1, 2))
    x = torch.randint(4, 4000, (3, 10))
    x[:, 6:] = 0
    with torch.no_grad():
        whole, cut = model(x), model(x[:, :6])
        assert torch.allclose(whole, cut, atol=1e-5)
        assert torch.equal(whole, again(x))
        assert not torch.allclose(whole, other(x), atol=1e-3)
        assert torch.equal(whole, model(x.float()))
    assert whole.shape == (3, 4)


def test_nothing_but_padding_gets_an_answer():
    with torch.no_grad():
        assert torch.isfinite(build_model("bert-tiny", (6,), 2, 0).eval()(torch.zeros(1, 6))).all()


def test_a_folder_s_bert_answers_as_transformers_does(bert):
    ours = build_model(f"hf:{bert}", (6,), 3, 0).eval()
    with torch.no_grad():
        assert torch.allclose(ours(X), own_answers("BertForSequenceClassification", bert, X, 0), atol=1e-6)


def test_so_does_a_roberta_whose_padding_is_1(tmp_path):
    library = transformers("the test")
    config = library.RobertaConfig(vocab_size=9, max_position_embeddings=12, num_labels=2, type_vocab_size=1, **SMALL)
    library.RobertaForSequenceClassification(config).save_pretrained(tmp_path)
    x = torch.tensor([[0, 4, 6, 2, 1, 1], [0, 5, 8, 3, 4, 2]])
    ours = build_model(f"hf:{tmp_path}", (6,), 2, 0).eval()
    with torch.no_grad():
        assert torch.allclose(ours(x), own_answers("RobertaForSequenceClassification", tmp_path, x, 1), atol=1e-6)
    with pytest.raises(UserError, match="takes 10 tokens at most, not 11"):
        build_model(f"hf:{tmp_path}", (11,), 2, 0)


def test_other_classes_get_a_fresh_head_of_the_seed(bert):
    first, again, other = (build_model(f"hf:{bert}", (6,), 5, seed) for seed in (1, 1, 2))
    heads = [model.encoder.classifier.weight for model in (first, again, other)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    assert torch.equal(first.encoder.bert.pooler.dense.weight, other.encoder.bert.pooler.dense.weight)


def test_a_folder_s_tokeniser_is_the_one_that_serves(bert):
    how = of_model(f"hf:{bert}", 6)
    assert how.ids(["good news", "bad bad news good"]).tolist() == X.tolist()
    assert (how.length, how.padding, how.vocabulary) == (6, 0, 8)


def test_what_cannot_be_had_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    for model in (f"hf:{tmp_path / 'nothing'}", f"hf:{tmp_path}"):
        with pytest.raises(UserError, match=r"--model hf:.*BERT or RoBERTa") as caught:
            build_model(model, (6,), 2, 0)
        assert "\n" not in str(caught.value)


def test_images_and_texts_do_not_get_one_another_s_models():
    with pytest.raises(UserError, match=r"bert-tiny reads text, and this data set is of images: .* --text"):
        require_kind("bert-tiny", "image")
    with pytest.raises(UserError, match="lenet5 does not read text: use bert-tiny"):
        require_kind("lenet5", "text")
    with pytest.raises(UserError, match=r"bert-tiny takes \(tokens,\), not inputs of shape"):
        build_model("bert-tiny", (3, 8, 8), 2, 0)


def test_its_white_box_opens_with_a_gradient_norm_for_every_layer():
    module = build_model("bert-tiny", (6,), 3, 0).eval()
    artifact = TorchArtifact(module, "bert-tiny", (6,), 3)
    assert takes_tokens(torch.nn.Sequential(module))
    assert artifact.tokens
    x, y = token_probes(3, (6,), 0), np.array([0, 1, 2])
    inner = artifact.unpack().inner(x, y)
    embedding = inner.layers.index("encoder.bert.embeddings.word_embeddings")
    loss = torch.nn.functional.cross_entropy(module(torch.from_numpy(x[:1])), torch.from_numpy(y[:1]))
    (gradient,) = torch.autograd.grad(loss, [module.encoder.bert.embeddings.word_embeddings.weight])
    assert inner.gradient_norms[0, embedding] == pytest.approx(float(gradient.norm()), rel=1e-3)
