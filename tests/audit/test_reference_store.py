"""References on disk: the right column for each file, phi from the stored logits, and one line for what is damaged."""

import json
from pathlib import Path

import numpy as np
import pytest

from safedeploy.attacks.views import ITSELF
from safedeploy.audit import reference_store as store
from safedeploy.data.samples import Samples, content_digests
from safedeploy.errors import UserError
from safedeploy.results import ReferenceSet, Served, Views

X = np.random.default_rng(0).standard_normal((8, 5)).astype(np.float32)
Y = np.arange(8) % 3
MEMBER = np.array([[True] * 4 + [False] * 4, [False] * 4 + [True] * 4])


def described(count: int = 2, files: tuple[str, ...] = ("model.onnx", "model.int8.onnx"), views: int = 2):
    return ReferenceSet(
        made_for="r",
        fingerprint="f",
        recipe={},
        model="mlp",
        method="dense",
        seed=0,
        count=count,
        views=Views(augment="flip", padding=0, count=views) if views > 1 else ITSELF,
        files=list(files),
        pool=8,
        versions={},
    )


def logits(number: int, file: str, views: int = 2) -> np.ndarray:
    return np.random.default_rng([number, len(file)]).standard_normal((8, views, 3)).astype(np.float32) * 5


def stored(folder: Path, made: ReferenceSet, there: int | None = None) -> Path:
    made.write(folder / store.SET)
    store.write_pool(folder, content_digests(X), Y, np.arange(8))
    for number in range(made.count if there is None else there):
        answers = {file: logits(number, file, made.views.count) for file in made.files}
        hashes = dict.fromkeys(made.files, "0" * 64)
        store.write_reference(folder, number, store.Reference(MEMBER[number % 2], number, answers, hashes))
    return folder


def test_phi_is_that_of_the_stored_logits_by_sample_and_view(tmp_path):
    references, _, _ = store.load_references(stored(tmp_path, described()), "model.onnx", quantised=False)
    found = references.of(Samples(X[[5, 2]], Y[[5, 2]]))
    for k in range(2):
        for column, row in enumerate((5, 2)):
            for view in range(2):
                z = logits(k, "model.onnx")[row, view].astype(np.float64)
                p = np.exp(z) / np.exp(z).sum()
                np.testing.assert_allclose(found.phi[k, column, view], np.log(p[Y[row]] / (1 - p[Y[row]])), rtol=1e-9)
    np.testing.assert_array_equal(found.member, MEMBER[:, [5, 2]])


@pytest.mark.parametrize(
    ("files", "file", "quantised", "column", "said"),
    [
        (("model.onnx", "model.int8.onnx"), "model.int8.onnx", True, "model.int8.onnx", "of model.int8.onnx"),
        (("model.onnx", "model.int8.onnx"), "model.pte", False, "model.onnx", "the same float32 arithmetic"),
        (("model.onnx", "model.int8.onnx"), None, True, "model.int8.onnx", "int8 too"),
        (("model.int8.onnx", "model.int8.pte"), "model.int8.pte", True, "model.int8.pte", "of model.int8.pte"),
        (("model.onnx",), "model.int8.onnx", True, "model.onnx", "model.onnx are float32, the file is int8"),
        (("model.int8.onnx",), "theirs.onnx", False, "model.int8.onnx", "are int8, the file is float32"),
    ],
)  # fmt: skip
def test_the_column_that_fits_the_file_is_read_and_named(files, file, quantised, column, said, tmp_path):
    chosen, clause = store.choose(described(files=files), file, quantised=quantised)
    assert chosen == column
    assert said in clause
    references, _, read = store.load_references(stored(tmp_path, described(files=files)), file, quantised=quantised)
    assert read == clause
    odds = np.exp(logits(0, column)[:, 0].astype(np.float64))
    own = odds[np.arange(8), Y]
    np.testing.assert_allclose(
        references.of(Samples(X, Y)).phi[0, :, 0], np.log(own / (odds.sum(axis=1) - own)), rtol=1e-6
    )


def test_a_file_served_by_another_says_how_far_the_two_were_apart():
    served = {"model.pte": Served(by="model.onnx", max_logit_difference=3.2e-6)}
    made = described().model_copy(update={"served": served})
    column, clause = store.choose(made, "model.pte", quantised=False)
    assert column == "model.onnx"
    assert clause.endswith("the same float32 arithmetic (the audited two differ by at most 3e-06)")


@pytest.mark.parametrize(("there", "read"), [(1, 1), (2, 2), (3, 2), (5, 4), (6, 6)])
def test_a_build_that_was_cut_off_gives_its_whole_pairs(there, read, tmp_path):
    references, _, clause = store.load_references(stored(tmp_path, described(6), there), None, quantised=False)
    assert references.count == read
    assert (f"{read} of 6 are finished" in clause) == (there < 6)


def test_an_odd_count_that_was_asked_for_is_read_whole(tmp_path):
    assert store.load_references(stored(tmp_path, described(3)), None, quantised=False)[0].count == 3


def test_no_finished_reference_is_one_line(tmp_path):
    with pytest.raises(UserError, match="no finished reference model: type the same"):
        store.load_references(stored(tmp_path, described(4), there=0), None, quantised=False)
    with pytest.raises(UserError, match="holds no reference models"):
        store.load_references(tmp_path / "nowhere", None, quantised=False)


def test_a_file_missing_in_the_middle_is_named(tmp_path):
    stored(tmp_path, described(4))
    store.place(tmp_path, 2).unlink()
    with pytest.raises(UserError, match=r"0002\.npz is missing"):
        store.load_references(tmp_path, None, quantised=False)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-300])


def one_bit_turned(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def of_another_pool(path: Path) -> None:
    np.savez(path, **{"member": MEMBER[0][:4], "seed": np.array(0), "logits model.onnx": logits(0, "model.onnx")[:4]})


def not_finite(path: Path) -> None:
    answers = logits(0, "model.onnx")
    answers[3, 0, 1] = np.nan
    np.savez(path, **{"member": MEMBER[0], "seed": np.array(0), "logits model.onnx": answers})


def with_objects(path: Path) -> None:
    np.savez(path, member=np.array([{}] * 8), **{"logits model.onnx": logits(0, "model.onnx")})


@pytest.mark.parametrize("damage", [cut_short, one_bit_turned, of_another_pool, not_finite, with_objects, Path.unlink])
@pytest.mark.parametrize("name", ["0000.npz", "pool.npz"])
def test_a_damaged_file_is_named_with_what_to_type_and_would_be_made_anew(damage, name, tmp_path):
    made = described(2, files=("model.onnx",))
    stored(tmp_path, made)
    assert store.is_complete(tmp_path, 0, made)
    damage(tmp_path / name)
    with pytest.raises(UserError, match=rf"{name} is missing.*safedeploy references") as raised:
        store.load_references(tmp_path, None, quantised=False)
    assert "\n" not in str(raised.value)
    assert store.is_complete(tmp_path, 0, made) == (name == "pool.npz")


def test_a_damaged_description_is_named(tmp_path):
    stored(tmp_path, described())
    (tmp_path / store.SET).write_text('{"schema": 1}')
    with pytest.raises(UserError, match="is not a ReferenceSet file"):
        store.load_references(tmp_path, None, quantised=False)


def test_reading_needs_no_torch():
    import subprocess
    import sys

    script = "import sys, safedeploy.audit.reference_store; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


@pytest.mark.parametrize("given", [1, 10])
def test_an_older_folder_is_read_if_its_references_were_asked_once(tmp_path, given):
    """Ten views were not those of their training, and are no longer asked of the audited model."""
    path = stored(tmp_path, described(views=1)) / store.SET
    path.write_text(json.dumps(json.loads(path.read_text()) | {"views": given}))
    if given == 1:
        references, _, _ = store.load_references(tmp_path, "model.onnx", quantised=False)
        assert references.views == ITSELF
    else:
        with pytest.raises(UserError, match=r"views: .*; make it again"):
            store.load_references(tmp_path, "model.onnx", quantised=False)
