"""Building reference models: the run's own recipe on random halves, resumable to the byte, for strangers too."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from safedeploy import compress, export
from safedeploy.artifacts.recognise import open_artifact
from safedeploy.attacks.membership import select
from safedeploy.audit.reference_store import load_references
from safedeploy.auditing import Asked, references_for
from safedeploy.compression import load_examples
from safedeploy.data.halves import POOL
from safedeploy.data.samples import content_digests
from safedeploy.data.split import MEMBERS, ROLES
from safedeploy.errors import UserError
from safedeploy.recipe import Recipe
from safedeploy.references import make_references, make_references_of_files
from safedeploy.results import ReferenceSet
from safedeploy.rundir import RunDir

TARGET = """name = "both"
description = "float32 and int8"
files = ["model.onnx", "model.int8.onnx"]
[tolerance.int8]
top1_agreement = 0.5
accuracy_lost = 0.5
"""


def made(folder: Path, source: str, *, method: dict[str, object] | None = None) -> Path:
    """A run with its bundle, trained in a moment."""
    (folder / "both.toml").write_text(TARGET)
    recipe = Recipe.model_validate(
        {
            "name": "tiny",
            "seed": 3,
            "target": str(folder / "both.toml"),
            "data": {"source": source},
            "model": {"name": "mlp"},
            "method": method or {"name": "dense", "density": 1.0},
            "training": {"epochs": 2, "batch_size": 32, "learning_rate": 0.05, "device": "cpu"},
        }
    )
    run = compress(recipe, folder / "runs").root
    export(run)
    return run


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("digits"), "digits")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Columns of very different scales, so that each reference's own standardisation shows."""
    folder = tmp_path_factory.mktemp("table")
    generator = np.random.default_rng(0)
    y = np.arange(300) % 3
    x = (generator.standard_normal((300, 6)) + y[:, None]) * 10.0 ** np.arange(6)
    np.savez(folder / "t.npz", x=x.astype(np.float32), y=y)
    return made(folder, str(folder / "t.npz"))


@pytest.fixture(scope="module")
def whole(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six references of the digits run, made in one go."""
    return make_references(digits, 6, out=tmp_path_factory.mktemp("whole"))[0]


def stopping_at(share: float) -> Callable[[str], Callable[[float], None]]:
    def tell(fraction: float) -> None:
        if fraction > share:
            raise KeyboardInterrupt

    return lambda stage: tell


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_every_sample_is_in_exactly_half_of_the_references(whole):
    member = np.stack([np.load(whole / f"{number:04d}.npz")["member"] for number in range(6)])
    np.testing.assert_array_equal(member.sum(axis=0), 3)
    np.testing.assert_array_equal(member[0::2], ~member[1::2])


def test_the_pool_is_the_runs_four_roles_as_its_model_takes_them(digits, whole):
    examples = load_examples(RunDir(digits))
    pool = np.load(whole / "pool.npz")
    np.testing.assert_array_equal(pool["index"], examples.split.indices(*POOL))
    np.testing.assert_array_equal(pool["y"], examples.dataset.y[pool["index"]])
    np.testing.assert_array_equal(pool["digest"], content_digests(examples.samples(*POOL).x))
    references, _, _ = load_references(whole, "model.onnx", quantised=False)
    for role in POOL:
        assert references.of(examples.samples(role)).phi.shape == (6, examples.split.indices(role).size, 1)
    with pytest.raises(UserError, match="not in the reference models' pool"):
        references.of(examples.samples("test"))


def test_halves_are_independent_of_the_runs_members(digits, whole):
    examples = load_examples(RunDir(digits))
    pool = examples.split.indices(*POOL)
    is_member = np.isin(examples.split.role[pool], [ROLES.index(role) for role in MEMBERS])
    member = np.stack([np.load(whole / f"{number:04d}.npz")["member"] for number in range(6)])
    overlap = np.array([is_member[row].mean() for row in member])
    assert np.abs(overlap - 0.5).max() < 4 * 0.5 / np.sqrt(member.shape[1] / 2)


def test_references_know_their_own_members(whole):
    """Models that trained on a sample are surer of it than those that did not, over the pool."""
    for file, quantised in (("model.onnx", False), ("model.int8.onnx", True)):
        references, _, _ = load_references(whole, file, quantised=quantised)
        phi, member = references._phi[:, :, 0], references._member
        inside = np.where(member, phi, 0).sum(axis=0) / 3
        outside = np.where(member, 0, phi).sum(axis=0) / 3
        difference = inside - outside
        assert difference.mean() > 4 * difference.std() / np.sqrt(difference.size)


def test_the_answers_are_those_of_the_same_recipe_trained_on_the_half(table, tmp_path):
    """Trained here by hand: its own members' statistics, its own seed; float32 answers to rounding."""
    from safedeploy.compression import Examples, fresh
    from safedeploy.data.halves import half_split
    from safedeploy.recipe import read_recipe
    from safedeploy.training.run import run_training

    (folder,) = make_references(table, 2, out=tmp_path / "r")
    examples, recipe = load_examples(RunDir(table)), read_recipe(table / "recipe.toml")
    stored = np.load(folder / "0001.npz")
    seed = int(stored["seed"])
    split = half_split(examples.split, examples.dataset.y, stored["member"], seed)
    mine = Examples(examples.dataset, split)
    module, hooks = fresh(recipe.model_copy(update={"seed": seed}), mine)
    members, held = ((torch.from_numpy(s.x), torch.from_numpy(s.y)) for s in map(mine.samples, ("member_known",) * 2))
    everyone = mine.samples(*MEMBERS)
    members = (torch.from_numpy(everyone.x), torch.from_numpy(everyone.y))
    run_training(
        module, members, held, hooks, recipe.training, seed, metrics=tmp_path / "m", checkpoints=tmp_path / "c"
    )
    with torch.no_grad():
        answers = module(torch.from_numpy(mine.samples(*POOL).x)).numpy()
    np.testing.assert_allclose(stored["logits model.onnx"][:, 0], answers, rtol=1e-3, atol=1e-3)
    assert np.abs(mine.samples(*MEMBERS).x.mean(axis=0)).max() < 1e-3  # its own statistics, not the run's
    assert not np.array_equal(mine.samples(*POOL).x, examples.samples(*POOL).x)


SELECTING = {"name": "safecompress", "density": 0.3, "options": {"attacker": "black"}}


@pytest.mark.parametrize(
    ("method", "share"),
    [
        (None, 0.45),
        (None, 0.94),  # trained, and some of them written
        (None, 0.999),
        pytest.param(None, 0.05, marks=pytest.mark.slow),
        pytest.param(SELECTING, 0.3, marks=pytest.mark.slow),
    ],
)
def test_a_build_that_was_cut_off_goes_on_to_the_same_bytes(method, share, tmp_path, digits, whole):
    """Stacked trainings (dense) start their stack again, trainings of their own (safecompress) their reference."""
    if method is None:
        run, count, uncut = digits, 6, whole
    else:
        run, count = made(tmp_path, "digits", method=method), 2
        uncut = make_references(run, count, out=tmp_path / "uncut")[0]
    with pytest.raises(KeyboardInterrupt):
        make_references(run, count, out=tmp_path / "cut", progress=stopping_at(share))
    make_references(run, count, out=tmp_path / "cut")
    assert content(tmp_path / "cut") == content(uncut)


def test_a_kept_reference_is_not_made_again_and_a_damaged_one_is(digits, whole, tmp_path):
    folder = Path(shutil.copytree(whole, tmp_path / "r"))
    (folder / "0004.npz").write_bytes((whole / "0004.npz").read_bytes()[:-2000])
    kept = (folder / "0000.npz").stat().st_mtime_ns
    make_references(digits, 6, out=folder)
    assert content(folder) == content(whole)
    assert (folder / "0000.npz").stat().st_mtime_ns == kept


def test_a_larger_count_extends_and_a_smaller_one_takes_nothing_away(digits, whole, tmp_path):
    folder = tmp_path / "r"
    make_references(digits, 2, out=folder)
    first = content(folder)
    make_references(digits, 4, out=folder)
    assert ReferenceSet.read(folder / "references.json").count == 4
    grown = content(folder)
    assert {name: grown[name] for name in ("0000.npz", "0001.npz", "pool.npz")} == {
        name: first[name] for name in ("0000.npz", "0001.npz", "pool.npz")
    }
    make_references(digits, 2, out=folder)
    assert content(folder) == grown
    for number in range(4):  # and they are those of a larger set made in one go
        ours, theirs = (np.load(place / f"{number:04d}.npz") for place in (folder, whole))
        np.testing.assert_array_equal(ours["member"], theirs["member"])
        np.testing.assert_allclose(ours["logits model.onnx"], theirs["logits model.onnx"], rtol=1e-3, atol=1e-3)


def test_another_recipe_or_other_data_in_the_folder_is_refused(digits, whole, table, tmp_path):
    before = content(whole)
    shorter = Path(shutil.copytree(digits, tmp_path / "tiny"))
    recipe = (shorter / "recipe.toml").read_text()
    (shorter / "recipe.toml").write_text(recipe.replace("epochs = 2\n", "epochs = 1\n"))
    for run, said in ((table, "data"), (shorter, "training.epochs 2 there, 1 here")):
        with pytest.raises(UserError, match=said):
            make_references(run, 6, out=whole)
    with pytest.raises(UserError, match=r"files model.onnx,model.int8.onnx there, model.onnx here"):
        make_references(digits, 6, out=whole, files=["model.onnx"])
    assert content(whole) == before


@pytest.mark.slow
def test_a_run_with_a_dense_control_gets_references_of_both_on_the_same_halves(digits, tmp_path):
    run = Path(shutil.copytree(digits, tmp_path / "tiny"))
    shutil.copytree(digits, run / "dense")
    folders = make_references(run, 2)
    assert folders == [run / "references", run / "dense" / "references"]
    first, second = (np.load(folder / "0000.npz")["member"] for folder in folders)
    np.testing.assert_array_equal(first, second)
    assert make_references(run, 2, control=False) == [run / "references"]


@pytest.mark.slow
def test_views_are_answers_to_the_shifted_and_mirrored_sample(digits, tmp_path):
    (folder,) = make_references(digits, 2, views=3, files=["model.onnx"], out=tmp_path / "r")
    logits = np.load(folder / "0000.npz")["logits model.onnx"]
    assert logits.shape[1] == 3
    assert np.abs(logits[:, 0] - logits[:, 1]).max() > 0.1
    with pytest.raises(UserError, match="--views 19: these models can be asked at 1 to 18"):
        make_references(digits, 2, views=19, out=tmp_path / "s")


def test_models_of_an_augmented_training_are_asked_at_the_views_they_saw(strangers, tmp_path):
    """Images of 8 x 8 are shifted by a pixel: 3 x 3 shifts, in a training that mirrors none."""
    asked = {"model": "mlp", "epochs": 1, "files": ["model.onnx"]}
    for augment, count in ((None, 1), ("flip", 2), ("crop", 9)):
        folder = make_references_of_files(*strangers, tmp_path / f"{augment}", 1, augment=augment, **asked)
        described = ReferenceSet.read(folder / "references.json")
        assert (described.views.augment, described.views.count) == (augment or "none", count)


def test_a_table_has_one_view(table, tmp_path):
    with pytest.raises(UserError, match="--views 2"):
        make_references(table, 2, views=2, out=tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_a_run_without_weights_or_bundle_is_told_what_to_type(digits, tmp_path):
    run = Path(shutil.copytree(digits, tmp_path / "tiny"))
    shutil.rmtree(run / "bundle")
    with pytest.raises(UserError, match=f"safedeploy export {run}"):
        make_references(run, 2)
    (run / "model.safetensors").unlink()
    with pytest.raises(UserError, match=f"safedeploy compress --resume {run}"):
        make_references(run, 2)
    with pytest.raises(UserError, match="is not a run"):
        make_references(tmp_path, 2)


@pytest.mark.parametrize("count", [0, -3])
def test_fewer_than_one_is_refused(digits, tmp_path, count):
    with pytest.raises(UserError, match=f"--count {count}"):
        make_references(digits, count, out=tmp_path / "r")


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Digits in two files, as somebody else's model would take them."""
    from safedeploy.data import digits

    folder, data = tmp_path_factory.mktemp("files"), digits.load()
    x = (data.x.astype(np.float32) / 16 - 0.5) / 0.5
    np.savez(folder / "m.npz", x=x[:600], y=data.y[:600])
    np.savez(folder / "n.npz", x=x[600:1200], y=data.y[600:1200])
    return folder / "m.npz", folder / "n.npz"


def test_a_strangers_two_files_are_enough(strangers, tmp_path):
    members, nonmembers = strangers
    files = ["model.onnx", "model.int8.onnx"]
    folder = make_references_of_files(members, nonmembers, tmp_path / "r", 4, model="mlp", epochs=4, files=files)
    references, described, _ = load_references(folder, None, quantised=True)
    assert (described.pool, described.method, described.made_for) == (1200, "dense", "m.npz and n.npz")
    from safedeploy.data.samples import read_samples

    inside = references.of(read_samples(members, input_shape=(1, 8, 8), classes=10))
    outside = references.of(read_samples(nonmembers, input_shape=(1, 8, 8), classes=10))
    assert (inside.phi.shape, outside.phi.shape) == ((4, 600, 1), (4, 600, 1))
    np.testing.assert_array_equal(inside.member.sum(axis=0), 2)
    assert abs(inside.member[0].mean() - 0.5) < 0.1  # a half of either file
    assert inside.phi[inside.member].mean() > inside.phi[~inside.member].mean()


def test_who_is_a_member_changes_nothing_in_a_strangers_references(strangers, tmp_path):
    one = make_references_of_files(*strangers, tmp_path / "a", 1, model="mlp", epochs=1)
    other = make_references_of_files(*reversed(strangers), tmp_path / "b", 1, model="mlp", epochs=1)
    assert (one / "0000.npz").read_bytes() == (other / "0000.npz").read_bytes()


@pytest.mark.slow
def test_like_gives_the_shape_and_the_classes_and_int8_where_the_file_is(digits, strangers, tmp_path):
    like = digits / "bundle" / "both" / "model.int8.onnx"
    folder = make_references_of_files(*strangers, tmp_path / "r", 2, like=like, model="mlp", epochs=1)
    assert ReferenceSet.read(folder / "references.json").files == ["model.onnx", "model.int8.onnx"]
    renamed = tmp_path / "model.onnx"
    renamed.write_bytes(like.read_bytes())
    asked = Asked({}, select(["lira-online"]), folder)
    assert "model.int8.onnx" in references_for(renamed, open_artifact(renamed), asked)[1]  # by content, not by name
    x = np.load(strangers[0])["x"]
    np.savez(tmp_path / "wrong.npz", x=x[:, :, :4], y=np.load(strangers[0])["y"])
    with pytest.raises(UserError, match="the model takes"):
        make_references_of_files(tmp_path / "wrong.npz", strangers[1], tmp_path / "s", 2, like=like)


def test_non_members_that_are_also_members_are_refused(strangers, tmp_path):
    with pytest.raises(UserError, match="are also members"):
        make_references_of_files(strangers[0], strangers[0], tmp_path / "r", 2, model="mlp")
