"""The white-box attack on the .pte of a real run sees what it sees in the run's ONNX file."""

import functools
from pathlib import Path

import numpy as np
import pytest

from safedeploy.artifacts.base import Artifact
from safedeploy.artifacts.recognise import open_artifact
from safedeploy.attacks.base import Floats, Knowledge
from safedeploy.attacks.membership import neural, neural_white
from safedeploy.data.dataset import preprocess, preprocessing
from safedeploy.data.load import load_dataset
from safedeploy.data.samples import Samples
from safedeploy.data.split import Role, read_split
from safedeploy.recipe import read_recipe
from safedeploy.rundir import open_run


def test_float32_scores_are_those_of_onnx(shipped_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neural, "fit", functools.partial(neural.fit, fitting=neural.Fitting(epochs=30)))
    run = open_run(shipped_run)
    dataset, split = load_dataset(read_recipe(run.recipe).data), read_split(run.split)

    def samples(*roles: Role) -> Samples:
        rows = split.indices(*roles)
        return Samples(preprocess(dataset.x[rows], preprocessing(dataset, split)), dataset.y[rows])

    knowledge = Knowledge(samples("member_known"), samples("nonmember_known"), seed=1)
    targets = samples("member_eval", "nonmember_eval")

    def scores(artifact: Artifact) -> Floats:
        return neural_white.score(artifact, knowledge, targets).values

    onnx, pte = (scores(open_artifact(run.bundle("pair") / name)) for name in ("model.onnx", "model.pte"))
    assert np.corrcoef(onnx, pte)[0, 1] > 0.9999
