"""How small a sparse model's ONNX file gets when an unmodified ONNX Runtime must load it, and what that costs to run.

Models of the zoo at 3 × 32 × 32, 10 classes, sparse by ERK budgets (`size_models`), exported by safedeploy's exporters.
`values`: float32, the model as it is; int8, the statically quantised (QDQ) model; int8-weights, float16, palette4 and
so on, a float32 model whose weights were rounded before (the dense file is then the rounded one). A ratio is this row's
encoded file over what the column names, so below 1 is smaller, faster or less.

bytes: the encoded file. bound_bytes: mask entropy and values, other tensors as they are, no graph (`size_peers`).
ratio_to_dense, ratio_to_zip, sparse_tensor_proto_ratio, bitmask_ratio: to the same model with all zeros stored, to a
zip -9 of that, to ONNX's own sparse form, to a bit a weight and the non-zeros. gzip_pte_int8_ratio: to gzip -9 of
ExecuTorch's int8 program of the same weights.
identical: encoded and dense model give the same bits in ONNX Runtime on 64 random inputs.
latency_ratio, resident_ratio, in_use_ratio: to the dense file of the same values. load_ratio, peak_memory_ratio: to the
dense float32 file; load_ratio_int8: to the dense int8 file. A process a load, files in turns, medians.

python -m benchmarks.size --models resnet18 --densities 0.05 --values int8 --cache DIR --json FILE
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import size_peers as peers
from benchmarks.common import parser, report
from benchmarks.size_models import Dense, dense_files, inputs
from benchmarks.size_timing import latency_ratio, loads, memory_ratios
from safedeploy.bench.protocol import Rules
from safedeploy.export.encoding.values import ROUNDINGS, Rounding

INPUTS = 64

ROUNDED: dict[str, Rounding] = {"int8-weights" if one == "int8" else one: one for one in ROUNDINGS}
VALUES = ("float32", "int8", *ROUNDED)

# the largest allowed of each column, in every row and in those of an int8 or a float32 graph
LIMITS = {
    "ratio_to_bound": 1.05,
    "ratio_to_dense": 1,
    "ratio_to_zip": 1,
    "sparse_tensor_proto_ratio": 1,
    "bitmask_ratio": 1,
    "latency_ratio": 1.02,
    "resident_ratio": 1.02,
    "in_use_ratio": 1.02,
    "peak_memory_ratio": 1.5,
}
INT8_LIMITS = {"gzip_pte_int8_ratio": 1, "load_ratio_int8": 4}
FLOAT32_LIMITS = {"load_ratio": 2}


def row(model: str, density: float, values: str, cache: Path, given: argparse.Namespace) -> dict[str, Any]:
    from safedeploy.export.encoding.encode import encode
    from safedeploy.export.encoding.rounding import round_file

    files = dense_files(model, density, given.seed, cache, pte=True)
    dense = files.int8 if values == "int8" else files.float32
    if values in ROUNDED:
        dense = files.float32.with_name(f"model.{values}.onnx")
        if not dense.exists():
            round_file(files.float32, dense, ROUNDED[values])
    encoded = dense.with_name(f"encoded.{values}.onnx")
    encode(dense, encoded)
    size = encoded.stat().st_size
    sizes = peer_sizes(files, dense, ROUNDED.get(values))
    found: dict[str, Any] = {
        "model": model,
        "density": density,
        "values": values,
        "bytes": size,
        "bound_bytes": round(sizes["bound"]),
        "ratio_to_bound": size / sizes["bound"],
        "ratio_to_dense": size / sizes["dense"],
        "ratio_to_zip": size / sizes["zip"],
        "sparse_tensor_proto_ratio": size / sizes["sparse_tensor_proto"],
        "bitmask_ratio": size / sizes["bitmask"],
        "gzip_pte_int8_ratio": size / sizes["gzip_pte_int8"],
        "identical": np.array_equal(answers(encoded), answers(dense)),
    }
    if given.loads:
        float32, int8, ours = loads([files.float32, files.int8, encoded], given.loads)
        found |= {
            "latency_ratio": latency_ratio(encoded, dense, Rules(given.queries, given.seconds)),
            "load_ratio": ours[0] / float32[0],
            "load_ratio_int8": ours[0] / int8[0],
            "peak_memory_ratio": ours[1] / float32[1],
        }
        found["resident_ratio"], found["in_use_ratio"] = memory_ratios(encoded, dense, given.loads)
    return found


def answers(path: Path) -> Any:
    """Logits of 64 random inputs, one at a time and all at once."""
    from safedeploy.artifacts.onnx import OnnxArtifact

    artifact, x = OnnxArtifact(path, threads=1), inputs(INPUTS, 1)
    return np.concatenate([artifact.logits(x), *(artifact.logits(one[None]) for one in x)])


def peer_sizes(files: Dense, dense: Path, rounding: str | None = None) -> dict[str, float]:
    """Bytes of each other form, kept beside the dense file: zip -9 takes half a minute a file."""
    kept = dense.with_suffix(".peers.json")
    if not kept.exists():
        assert files.pte is not None
        with tempfile.TemporaryDirectory() as folder:
            sparse, bitmask = Path(folder) / "sparse.onnx", Path(folder) / "bitmask.bin"
            peers.write_sparse_tensor_protos(dense, sparse)
            if not np.array_equal(answers(sparse), answers(dense)):
                raise ValueError(f"{dense}: its SparseTensorProto form answers differently")
            peers.write_bitmasks(dense, bitmask)
            if not peers.same_tensors(peers.read_bitmasks(bitmask), dense):
                raise ValueError(f"{dense}: its bitmask form does not give the weights back")
            sizes = {
                "bound": peers.bound_bytes(dense, rounding),
                "dense": dense.stat().st_size,
                "zip": peers.zipped(dense),
                "sparse_tensor_proto": sparse.stat().st_size,
                "bitmask": bitmask.stat().st_size,
                "gzip_pte_int8": peers.gzipped(files.pte),
            }
        kept.write_text(json.dumps(sizes), encoding="utf-8")
    found: dict[str, float] = json.loads(kept.read_text(encoding="utf-8"))
    return found


def broken(found: dict[str, Any]) -> list[str]:
    """The limits that a row does not keep; columns that were not measured count as kept."""
    limits = LIMITS | (INT8_LIMITS if found["values"] == "int8" else FLOAT32_LIMITS)
    over = [
        f"{column} {found[column]:.4g} > {most:g}" for column, most in limits.items() if found.get(column, 0) > most
    ]
    return over if found["identical"] else ["answers differ", *over]


def summary(rows: list[dict[str, Any]], say: Callable[[str], None] = print) -> None:
    say("")
    for found in rows:
        missed = broken(found)
        where = f"{found['model']} {found['density']:g} {found['values']}"
        say(f"{where}: " + ("within every limit" if not missed else "; ".join(missed)))


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--models", nargs="+", default=["resnet18", "vgg16", "mobilenet_v2"])
    options.add_argument("--densities", nargs="+", type=float, default=[0.02, 0.05, 0.1, 0.2])
    options.add_argument("--values", nargs="+", choices=VALUES, default=["float32", "int8"])
    options.add_argument("--loads", type=int, default=7, help="counted loads of each file; 0: sizes alone, no timing")
    options.add_argument("--queries", type=int, default=128, help="least number of timed queries a file")
    options.add_argument("--seconds", type=float, default=5, help="least seconds inside queries a file")
    options.add_argument("--cache", type=Path, help="folder that keeps the dense files from run to run")
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            row(model, density, values, given.cache or Path(folder), given)
            for model in given.models
            for density in given.densities
            for values in given.values
        ]
    report(rows, given.json)
    summary(rows)


if __name__ == "__main__":
    main()
