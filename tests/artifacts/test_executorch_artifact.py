"""A .pte answers through its own runtime what torch answers."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safedeploy.artifacts.executorch import ExecuTorchArtifact
from safedeploy.artifacts.torch import TorchArtifact
from safedeploy.errors import UserError

RNG = np.random.default_rng(5)


def test_shapes_are_read_from_the_programs_metadata(convnet_pte: Path) -> None:
    artifact = ExecuTorchArtifact(convnet_pte)
    assert (artifact.format, artifact.batch, artifact.input_shape, artifact.classes) == ("executorch", 4, (1, 8, 8), 10)


@pytest.mark.parametrize("n", [0, 1, 4, 11])
def test_logits_are_those_of_torch(convnet: Any, convnet_pte: Path, n: int) -> None:
    x = RNG.standard_normal((n, 1, 8, 8), dtype=np.float32)
    expected = TorchArtifact(convnet, "convnet", (1, 8, 8), 10).logits(x)
    np.testing.assert_allclose(ExecuTorchArtifact(convnet_pte).logits(x), expected, atol=1e-5)


def test_a_wrong_shape_is_refused(convnet_pte: Path) -> None:
    with pytest.raises(UserError, match=r"shape \(n, 1, 8, 8\)"):
        ExecuTorchArtifact(convnet_pte).logits(np.zeros((2, 3, 8, 8), dtype=np.float32))


def test_a_model_from_image_to_image_is_refused(tmp_path: Path) -> None:
    import torch
    from executorch.exir import to_edge_transform_and_lower

    exported = torch.export.export(torch.nn.ReLU(), (torch.zeros(1, 3, 4, 4),))
    path = tmp_path / "image.pte"
    path.write_bytes(to_edge_transform_and_lower(exported).to_executorch().buffer)
    with pytest.raises(UserError, match="no classifier"):
        ExecuTorchArtifact(path)


def test_threads_are_set_and_nothing_is_printed(convnet_pte: Path) -> None:
    """In a fresh process: the pool belongs to the process and is set by the first file."""
    program = (
        "import sys\nfrom pathlib import Path\nimport numpy as np\n"
        "from safedeploy.artifacts.recognise import open_artifact\n"
        "artifact = open_artifact(Path(sys.argv[1]), threads=3)\n"
        "artifact.logits(np.zeros((5, 1, 8, 8), dtype=np.float32))\n"
        "raise SystemExit(100 + artifact.threads)\n"
    )
    command = [sys.executable, "-c", program, str(convnet_pte)]
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (103, b"", b"")
