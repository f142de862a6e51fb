"""Text as token numbers: a WordPiece vocabulary fitted on the members' texts alone, or the tokeniser of a model."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from safedeploy.errors import UserError, missing_extra
from safedeploy.hub import loaded, transformers
from safedeploy.results import TextPreprocessing

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

FILE = "tokenizer.json"
VOCABULARY = 4000  # entries at most, the special ones included
FEWEST_TEXTS = 5  # members whose texts hold an entry: what fewer wrote is not told by the vocabulary that ships
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
INSIDE = "##"  # before an entry that continues a word


@dataclass(frozen=True)
class Tokeniser:
    """`content`: a tokenizer.json that cuts and fills up every text to one length."""

    content: str

    def ids(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, length) token numbers. Whole numbers below 2²⁴ are exact as the float32 that every input here is."""
        encoded = self._tokenizer.encode_batch_fast(list(texts))
        return np.array([one.ids for one in encoded], dtype=np.float32).reshape(len(encoded), self.length)

    @property
    def length(self) -> int:
        return int(self._filling["length"])

    @property
    def padding(self) -> int:
        """The number that fills up."""
        return int(self._filling["pad_id"])

    @property
    def vocabulary(self) -> int:
        """One more than the largest token number."""
        return max(self._tokenizer.get_vocab().values()) + 1

    @property
    def described(self) -> TextPreprocessing:
        return TextPreprocessing(
            raw="text, UTF-8",
            file=FILE,
            sha256=hashlib.sha256(self.content.encode()).hexdigest(),
            length=self.length,
            vocabulary=self.vocabulary,
            padding=self.padding,
        )

    @property
    def _filling(self) -> dict[str, Any]:
        if self._tokenizer.padding is None or self._tokenizer.truncation is None:
            raise UserError(f"{FILE} does not cut and fill up texts to one length; train again")
        return dict(self._tokenizer.padding)

    @cached_property
    def _tokenizer(self) -> "Tokenizer":
        require_tokenizers()
        from tokenizers import Tokenizer

        try:
            return Tokenizer.from_str(self.content)
        except Exception as error:  # the library raises nothing narrower
            raise UserError(f"{FILE} is damaged ({error}); train again") from None


def require_tokenizers() -> None:
    """Raises UserError naming the extra where the tokenizers library is not installed."""
    try:
        import tokenizers  # noqa: F401
    except ImportError:
        raise missing_extra("text", "text") from None


def fit(texts: Sequence[str], length: int) -> Tokeniser:
    """A lower-case WordPiece tokeniser (Wu et al. 2016; Devlin et al. 2019) whose every entry is in FEWEST_TEXTS texts.

    Candidates are the pieces of a byte-pair encoding (Sennrich et al. 2016) of the same texts, told apart by whether
    they begin a word, and single letters; those in most texts are kept. The library's own WordPiece trainer numbers its
    entries anew in every process, so that no run could be repeated. The vocabulary is a count over the members: what
    rests on few of them is left out, but no differential privacy is claimed.
    Raises UserError where the texts leave nothing to tell them apart by.
    """
    require_tokenizers()
    from tokenizers import Tokenizer, models, processors, trainers

    pieces = _bare(Tokenizer(models.BPE(unk_token="[UNK]")))
    special = list(SPECIAL)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, min_frequency=FEWEST_TEXTS, special_tokens=special, show_progress=False
    )
    pieces.train_from_iterator(texts, trainer)
    held = Counter(entry for one in pieces.encode_batch(list(texts)) for entry in _entries(one))
    kept = sorted((entry for entry, count in held.items() if count >= FEWEST_TEXTS), key=lambda e: (-held[e], e))
    vocabulary = {entry: number for number, entry in enumerate([*SPECIAL, *kept[: VOCABULARY - len(SPECIAL)]])}
    made = _bare(Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", continuing_subword_prefix=INSIDE)))
    ends = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    made.post_processor = processors.TemplateProcessing(single="[CLS] $0 [SEP]", special_tokens=ends)
    made.add_special_tokens(special)
    tokeniser = sized(made, length, padding=vocabulary["[PAD]"], word="[PAD]")
    if len(np.unique(tokeniser.ids(texts), axis=0)) < 2:
        why = f"all {len(texts):,} texts of the members are the same tokens"
        raise UserError(f"{why}: nothing to learn from (a word counts where {FEWEST_TEXTS} texts or more hold it)")
    return tokeniser


def of_model(model: str, length: int) -> Tokeniser:
    """The tokeniser that belongs to `model`, hf:NAME or hf:FOLDER. Raises UserError without one."""
    auto = transformers(f"--model {model}").AutoTokenizer
    found = loaded(model, "tokeniser", auto.from_pretrained, use_fast=True)
    if found.pad_token_id is None or getattr(found, "backend_tokenizer", None) is None:
        lacks = "padding token" if found.pad_token_id is None else "tokenizer.json"
        raise UserError(f"--model {model}: its tokeniser has no {lacks}; give a BERT or RoBERTa classifier")
    return sized(found.backend_tokenizer, length, padding=found.pad_token_id, word=str(found.pad_token))


def sized(tokenizer: "Tokenizer", length: int, *, padding: int, word: str) -> Tokeniser:
    """`tokenizer` with every text cut or filled up to `length` tokens."""
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length, pad_id=padding, pad_token=word)
    return Tokeniser(tokenizer.to_str())


def _bare(tokenizer: "Tokenizer") -> "Tokenizer":
    """As BERT reads: lower case, no accents, words and punctuation apart."""
    from tokenizers import normalizers, pre_tokenizers

    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _entries(encoded: "Encoding") -> set[str]:
    """What a text holds: its pieces and their letters, each once, with INSIDE where they do not begin a word."""
    return set(_placed(encoded))


def _placed(encoded: "Encoding") -> Iterator[str]:
    word = None
    for piece, its_word in zip(encoded.tokens, encoded.word_ids, strict=True):
        begins, word = its_word != word, its_word
        if piece in SPECIAL:
            continue
        yield piece if begins else INSIDE + piece
        for place, letter in enumerate(piece):
            yield letter if begins and place == 0 else INSIDE + letter
