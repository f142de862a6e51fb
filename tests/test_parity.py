"""The file is what is attacked, and it gives away what its checkpoint does: the same scores, whatever the format."""

import numpy as np
import pytest

from safedeploy.artifacts.recognise import open_artifact
from safedeploy.artifacts.remember import remember
from safedeploy.artifacts.torch import TorchArtifact
from safedeploy.attacks.membership import select
from safedeploy.auditing import exam_of_run
from safedeploy.compression import load
from safedeploy.rundir import RunDir

ATTACKS = select(["loss", "modified-entropy-by-class", "margin", "boosted", "noise-averaged", "gradient-norm"])


@pytest.fixture(scope="module")
def scored(shipped_run):
    """Every attack's scores, by format."""
    exam = exam_of_run(RunDir(shipped_run))
    files = [open_artifact(shipped_run / "bundle/pair" / name) for name in ("model.onnx", "model.pte")]
    onnx = files[0]
    checkpoint = TorchArtifact(load(shipped_run), "checkpoint", onnx.input_shape, onnx.classes)
    return {
        artifact.format: {
            attack.name: attack.score(remember(artifact), exam.knowledge, exam.targets).values for attack in ATTACKS
        }
        for artifact in (checkpoint, *files)
    }


@pytest.mark.parametrize("shipped", ["onnx", "executorch"])
@pytest.mark.parametrize("attack", [attack.name for attack in ATTACKS])
def test_scores_on_the_file_are_those_on_the_checkpoint(scored, shipped, attack):
    assert np.corrcoef(scored["torch"][attack], scored[shipped][attack])[0, 1] > 0.9999
