"""Texts from a table or a published set, and the tokeniser that is fitted on the members alone."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from safedeploy.data.dataset import Dataset, preprocess, preprocessing
from safedeploy.data.load import load_dataset
from safedeploy.data.split import ROLES, Split
from safedeploy.data.tokeniser import FEWEST_TEXTS, SPECIAL, Tokeniser, fit
from safedeploy.errors import UserError
from safedeploy.recipe import DataRecipe

WORDS = ["stock", "market", "goal", "team", "rocket", "orbit", "bank", "score"]
TEXTS = [f"{WORDS[i % 8]} {WORDS[(3 * i + 1) % 8]}s, the {WORDS[(5 * i + 2) % 8]}!" for i in range(40)]


def save(folder: Path, **columns: list) -> Path:
    path = folder / "news.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def fault(folder: Path, columns: dict[str, list], named: str = "text") -> str:
    path = save(folder, **columns)
    with pytest.raises(UserError) as caught:
        load_dataset(DataRecipe(source=str(path), text=named, label="label"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def vocabulary(tokeniser: Tokeniser) -> dict[str, int]:
    return json.loads(tokeniser.content)["model"]["vocab"]


def test_columns_of_texts_are_joined_and_classes_sorted(tmp_path):
    path = save(tmp_path, title=["A b", "C"], body=["d.", "e é"], label=["sport", "biz"])
    data = load_dataset(DataRecipe(source=str(path), text="title, body", label="label", length=12))
    assert data.kind == "text"
    assert data.x.tolist() == ["A b d.", "C e é"]
    assert (data.y.tolist(), data.class_names, data.input_shape) == ([1, 0], ("biz", "sport"), (12,))


def test_the_published_form_has_no_header_and_counts_classes_from_1(tmp_path):
    folder = tmp_path / "ag_news"
    folder.mkdir()
    (folder / "train.csv").write_text('"3","Wall St.","Bears\\band ""bulls"""\n"1","a","b"\n"4","c","d"\n"2","e","f"\n')
    (folder / "test.csv").write_text('"2","g","h"\n"1","i","j"\n')
    data = load_dataset(DataRecipe(source="ag-news", root=str(tmp_path)))
    assert data.x[0] == 'Wall St. Bears band "bulls"'
    assert data.y.tolist() == [2, 0, 3, 1, 1, 0]
    assert data.official_test.tolist() == [False] * 4 + [True] * 2
    assert data.class_names == ("World", "Sports", "Business", "Sci/Tech")


def test_a_published_set_without_files_or_library_says_where_they_belong(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"ag-news is not in .*ag_news.*put its train.csv and test.csv into"):
        load_dataset(DataRecipe(source="ag-news", root=str(tmp_path)))


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"texts": ["a", "b"], "label": [0, 1]}, "no column 'text'"),
        ({"text": ["a", "b"], "class": [0, 1]}, "no column 'label'"),
        ({"text": [1.5, 2.5], "label": [0, 1]}, "column 'text' is of type float64, no text"),
        ({"text": ["a", " "], "label": [0, 1]}, "1 of 2 texts are empty, the first at row 2"),
        ({"text": ["a", None], "label": [0, 1]}, "1 of 2 texts are empty"),
        ({"text": ["a", "a"], "label": [0, 1]}, "all 2 texts are the same"),
    ],
)
def test_texts_that_are_none_are_named(tmp_path, columns, says):
    assert says in fault(tmp_path, columns)


def test_the_label_is_no_text_and_only_a_table_has_columns(tmp_path):
    assert "the text column 'label' is the label" in fault(tmp_path, {"label": ["a", "b"]}, "label")
    with pytest.raises(UserError, match="--text body: digits has no such column"):
        load_dataset(DataRecipe(source="digits", text="body"))


def test_the_fingerprint_tells_texts_apart_however_they_are_cut():
    data = [Dataset("", "text", np.array(x, dtype=object), np.zeros(2), ("a", "b")) for x in (["ab", "c"], ["a", "bc"])]
    assert data[0].fingerprint != data[1].fingerprint


def test_an_entry_of_the_vocabulary_is_in_as_many_texts_as_promised():
    rare = [*TEXTS, *["zyzzyva " * 9] * (FEWEST_TEXTS - 1)]  # often, but of few authors
    entries = set(vocabulary(fit(rare, 16))) - set(SPECIAL)
    assert {"stock", "the", ",", "s", "##s"} <= entries
    for entry in entries:
        piece = entry.removeprefix("##")
        assert sum(piece in text for text in rare) >= FEWEST_TEXTS, entry
    assert "zyzzyva" in vocabulary(fit([*rare, "zyzzyva"], 16))


def test_only_members_are_read():
    role = np.full(80, ROLES.index("nonmember_known"), dtype=np.int8)
    role[:40] = ROLES.index("member_known")
    x = np.array([*TEXTS, *["outsiders quixotic"] * 40], dtype=object)
    data = Dataset("", "text", x, np.zeros(80, dtype=np.int64), ("a", "b"), length=16)
    how = preprocessing(data, Split(role, ""))
    assert how == fit(TEXTS, 16)
    assert not any("x" in entry or "q" in entry for entry in vocabulary(how) if entry not in SPECIAL)
    unknown = vocabulary(how)["[UNK]"]
    assert (
        preprocess(x[-1:], how)[0, :4] == [vocabulary(how)["[CLS]"], unknown, unknown, vocabulary(how)["[SEP]"]]
    ).all()


def test_token_numbers_are_those_of_bert_s_own_tokeniser():
    from tokenizers import BertWordPieceTokenizer

    ours = fit(TEXTS, 8)
    bert = BertWordPieceTokenizer(vocabulary(ours))
    bert.enable_truncation(8)
    bert.enable_padding(length=8, pad_id=0)
    texts = ["The stocks rocket", "Märkte: GOALS! teams scoring orbits", "a", "bank " * 30]
    ids = ours.ids(texts)
    assert ids.dtype == np.float32
    assert np.array_equal(ids, [one.ids for one in bert.encode_batch(texts)])
    assert (ours.length, ours.padding, ours.vocabulary) == (8, 0, len(vocabulary(ours)))


def test_another_process_fits_the_same_tokeniser():
    asked = "import json, sys; from safedeploy.data.tokeniser import fit; print(fit(json.load(sys.stdin), 16).content)"
    told = subprocess.run([sys.executable, "-c", asked], input=json.dumps(TEXTS), capture_output=True, text=True)
    assert told.stdout.strip() == fit(TEXTS, 16).content.strip()


def test_texts_without_a_word_in_common_teach_nothing():
    with pytest.raises(UserError, match="all 3 texts of the members are the same tokens: nothing to learn from"):
        fit(["alpha", "beta", "gamma"], 8)


@pytest.mark.parametrize("content", ["", "{}", '{"version": "1.0"}'])
def test_a_tokeniser_that_is_none_is_one_line(content):
    with pytest.raises(UserError, match=r"tokenizer\.json is damaged"):
        Tokeniser(content).ids(["a"])
