"""Encoded files in the oldest ONNX Runtime that is promised, installed in an environment of its own."""

import json
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
from test_encoding_files import SIDE, classifier

from safedeploy.export.encoding.encode import encode
from safedeploy.export.onnx_int8 import quantise_onnx
from safedeploy.export.targets import Quantisation

OLDEST = "1.17.3"
NEWEST_PYTHON = (3, 12)  # that it has wheels for
ASK = """
import json, sys
import numpy as np, onnxruntime as ort
told = []
for path in sys.argv[2:]:
    options = ort.SessionOptions()
    options.optimized_model_filepath = path + ".optimised"
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    told.append(session.run(None, {"input": np.load(sys.argv[1])})[0].tolist())
print(json.dumps([ort.__version__, told]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info[:2] > NEWEST_PYTHON, reason="that ONNX Runtime has no wheel for this Python")
def test_the_oldest_runtime_answers_alike_and_decodes_once(tmp_path: Path) -> None:
    """What it writes out as its own graph is as large as that of the plain file: the weights are decoded in it."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    wanted = [f"onnxruntime=={OLDEST}", "numpy<2"]
    done = subprocess.run([python, "-m", "pip", "install", "-q", *wanted], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"ONNX Runtime {OLDEST} cannot be installed here")
    plain = classifier(tmp_path / "plain.onnx")
    quantise_onnx(plain, tmp_path / "int8.onnx", np.zeros((8, 1, SIDE, SIDE), np.float32), Quantisation())
    files = [plain, tmp_path / "plain.coded.onnx", tmp_path / "int8.onnx", tmp_path / "int8.coded.onnx"]
    for source, made in zip(files[::2], files[1::2], strict=True):
        assert encode(source, made).after_bytes < 0.5 * source.stat().st_size
    x = tmp_path / "x.npy"
    np.save(x, np.random.default_rng(0).standard_normal((4, 1, SIDE, SIDE)).astype(np.float32))
    said = subprocess.run([python, "-c", ASK, x, *files], capture_output=True, text=True, check=True).stdout
    version, (first, coded, int8, int8_coded) = json.loads(said)
    assert version == OLDEST
    assert first == coded
    assert int8 == int8_coded
    sizes = [Path(f"{file}.optimised").stat().st_size for file in files]
    assert 0.95 * sizes[0] < sizes[1] < 1.05 * sizes[0]
    assert 0.95 * sizes[2] < sizes[3] < 1.05 * sizes[2]
