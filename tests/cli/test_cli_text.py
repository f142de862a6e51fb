"""A table of texts through the command line: trained, exported, looked into, attacked, timed; and what is refused."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

GOOD, BAD = ("fine", "lovely", "great"), ("awful", "dull", "poor")
TARGET = 'name = "texts"\ndescription = ""\nfiles = ["model.onnx"]\n'


@pytest.fixture
def table(home: Path) -> Path:
    generator = np.random.default_rng(0)
    label = generator.integers(0, 2, 900)
    said = [f"a {generator.choice((BAD, GOOD)[one])} film, number {n % 50}" for n, one in enumerate(label)]
    pd.DataFrame({"said": said, "label": np.array(["bad", "good"])[label], "n": label}).to_csv(home / "films.csv")
    (home / "texts.toml").write_text(TARGET)
    return home / "films.csv"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--text", "said", "--model", "lenet5"), "lenet5 does not read text: use bert-tiny"),
        (("--model", "bert-tiny"), "bert-tiny reads text, and this data set is of tables"),
        (("--text", "says"), "no column 'says'; did you mean 'said'?"),
        (("--text", "n"), "column 'n' is of type int64, no text"),
        (("--text", "said", "--sensitive", "n"), "films.csv is read as text; --sensitive is for tables and .npz"),
        (("--text", "said", "--length", "2"), "data.length: Input should be greater than or equal to 4"),
        (("--text", "said", "--model", "hf:nowhere"), "--model hf:nowhere: no tokeniser here, nor over the network"),
        (("--text", "said", "--model", "hf:./nowhere"), "--model hf:./nowhere: there is no folder nowhere"),
    ],
)
def test_what_does_not_fit_is_one_line_and_writes_nothing(typed, table, monkeypatch, arguments, says):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert says in typed("compress", "--data", table, *arguments).fault
    assert not (table.parent / "runs").exists()


@pytest.mark.parametrize("arguments", [("bert-tiny",), ("bert-tiny", "--input", "64"), ("hf:nowhere",)])
def test_a_plan_is_for_images_and_tables(typed, arguments):
    told = typed("plan", "--model", *arguments).fault
    assert told == f"--model {arguments[0]} reads text: plans are for models of images and tables"


def test_a_tokeniser_of_another_model_does_not_fit(typed, table):
    from safedeploy.hub import transformers

    library, folder = transformers("the test"), table.parent / "bert"
    config = library.BertConfig(
        vocab_size=5, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    library.BertForSequenceClassification(config).save_pretrained(folder)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "film", "a"]
    (folder / "vocab.txt").write_text("\n".join(words))
    library.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    told = typed("compress", "--data", table, "--text", "said", "--model", f"hf:{folder}").fault
    assert "knows 5 tokens, its tokeniser has 7: they do not belong together" in told


@pytest.mark.slow
def test_from_a_table_to_an_attacked_file(typed, table):
    options = ("--data", table, "--text", "said", "--length", 8, "--method", "set", "--density", 0.5, "--epochs", 12)
    made = typed("compress", *options, "--batch-size", 16, "--name", "films", "--target", "texts.toml", "--json")
    assert made.code == 0, made.err
    assert json.loads(made.out)["accuracy"]["test"] > 0.8
    assert typed("export", "runs/films").code == 0
    bundle = Path("runs/films/bundle/texts")
    assert (bundle / "tokenizer.json").read_bytes() == Path("runs/films/tokenizer.json").read_bytes()
    assert typed("verify", bundle).code == 0
    assert "input (n, 8) token numbers, 2 classes" in typed("inspect", bundle / "model.onnx").out
    attacks = "loss,gradient-norm,boundary-distance"
    audited = typed("audit", bundle / "model.onnx", "--attacks", attacks, "--json")
    assert audited.code == 0, audited.err
    evidence = json.loads(audited.out)
    assert {one["name"] for one in evidence["attacks"]} == {"loss", "gradient-norm"}
    assert "tokens cannot be changed a little" in json.dumps(evidence["not_run"])
