"""BERT and RoBERTa classifiers of token numbers: a small one drawn from a seed, and transformers' own by name."""

from typing import Any

import torch
from torch import Tensor, nn

from safedeploy.errors import UserError
from safedeploy.hub import loaded, transformers

VOCABULARY = 4000
NOT_SEEN = -1e4  # added to the score of a place that is filled up: its weight underflows to 0
KINDS = ("bert", "roberta")


class TextClassifier(nn.Module):
    """Token numbers (n, length), in any number type, to logits (n, classes); places filled up are not attended to."""

    tokens = True

    def __init__(self, encoder: nn.Module, padding: int, vocabulary: int, longest: int) -> None:
        """encoder: transformers' sequence classifier. vocabulary, longest: how many token numbers and places it has."""
        super().__init__()
        self.encoder = encoder
        self.padding, self.vocabulary, self.longest = padding, vocabulary, longest

    def forward(self, x: Tensor) -> Tensor:
        ids = x.long()
        unseen = torch.zeros_like(ids, dtype=torch.float32).masked_fill(ids == self.padding, NOT_SEEN)
        answers = self.encoder(
            input_ids=ids, attention_mask=unseen[:, None, None, :], token_type_ids=torch.zeros_like(ids)
        )
        logits: Tensor = answers.logits
        return logits


def bert_tiny(length: int, classes: int) -> TextClassifier:
    """BERT of 2 layers, 128 wide, 2 heads (Turc et al. 2019), for VOCABULARY tokens and texts of `length`."""
    library = transformers("--model bert-tiny")
    config = library.BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=512,
        max_position_embeddings=length,
        num_labels=classes,
        attn_implementation="eager",
    )
    return TextClassifier(library.BertForSequenceClassification(config), 0, VOCABULARY, length)


def from_hub(model: str, length: int, classes: int) -> TextClassifier:
    """The classifier that `model`, hf:NAME or hf:FOLDER, names, with a fresh head where its own tells other classes.

    Raises UserError for what is no BERT or RoBERTa, cannot be had, or is too short for `length` tokens.
    """
    library = transformers(f"--model {model}")
    config: Any = loaded(model, "model", library.AutoConfig.from_pretrained)
    if config.model_type not in KINDS:
        raise UserError(f"--model {model} is a {config.model_type}; give a BERT or RoBERTa classifier")
    longest = config.max_position_embeddings - (config.pad_token_id + 1 if config.model_type == "roberta" else 0)
    if length > longest:
        raise UserError(f"--model {model} takes {longest} tokens at most, not {length}: choose --length {longest}")
    encoder = loaded(
        model,
        "model",
        library.AutoModelForSequenceClassification.from_pretrained,
        num_labels=classes,
        attn_implementation="eager",
        ignore_mismatched_sizes=True,
        dtype=torch.float32,
        use_safetensors=True,
    )
    return TextClassifier(encoder, config.pad_token_id, config.vocab_size, longest)
