"""A bundle: the files of one target, made, run in their real runtimes and compared, then put in place all at once."""

import copy
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np
from numpy.typing import NDArray

from safedeploy.artifacts.info import artifact_info
from safedeploy.artifacts.tokens import takes_tokens
from safedeploy.data.tokeniser import Tokeniser
from safedeploy.errors import UserError
from safedeploy.export.encoding.encode import Encoding
from safedeploy.export.encoding.finish import finish
from safedeploy.export.hostile import asked_apart
from safedeploy.export.place import MANIFEST, replace, require_replaceable
from safedeploy.export.questions import Known, Questions
from safedeploy.export.reference import reference_logits, torch_answers, torch_rounding
from safedeploy.export.targets import FileName, Target, precision_of, runtime_of
from safedeploy.export.verify import OutOfTolerance
from safedeploy.export.verify_bundle import identity, verification, whole
from safedeploy.export.verify_file import Asked, verify_file
from safedeploy.recipe import Structure
from safedeploy.results import BundleFile, Check, Delegation, FileVerification, Manifest, Preprocessing, SizeBudget
from safedeploy.rundir import make_folder, write_text
from safedeploy.versions import versions

if TYPE_CHECKING:
    import torch

# What is not made of a model that reads tokens, and why.
NO_TEXT: dict[str, str] = {
    "model.int8.pte": "XNNPACK's quantiser gives attention's scores and their mask of −10⁴ one range of 256 steps"
}


def export_bundle(
    module: "torch.nn.Module",
    folder: Path,
    target: Target,
    *,
    model_name: str,
    preprocessing: Preprocessing | Tokeniser,
    class_names: Sequence[str],
    calibration: NDArray[np.float32],
    x: NDArray[np.float32],
    y: NDArray[np.int64],
    structure: Structure = "irregular",
    trained: "torch.nn.Module | None" = None,
    record: Path | None = None,
    progress: Callable[[float], None] | None = None,
) -> Manifest:
    """Make the files `target` wants out of `module`, check each in its real runtime, and put them into `folder`.

    calibration, x: (n, *input_shape) float32, preprocessed; calibration sets int8 ranges, x and y (n,) judge the files.
    structure: of the module's sparsity, for the manifest. trained: what the files are held against, where `module` is
    a smaller form of it. preprocessing: a tokeniser ships beside the files. record: where what the checks found (a
    Verification) is written. progress: told the share done, 0 to 1.
    `folder` is replaced as a whole, and only when every file passes every check: until then an earlier
    bundle stays as it was. The caller's module is not changed. The manifest names no path and no training example.
    Raises UserError for inputs that do not fit the module, a module that cannot be exported, a missing extra, or a
    `folder` that holds something else; OutOfTolerance for a file that fails a check.
    """
    folder = folder.resolve()
    require_replaceable(folder)
    tokens = takes_tokens(module)
    not_made = {name: NO_TEXT[name] for name in target.files if tokens and name in NO_TEXT}
    wanted = _in_order([name for name in target.files if name not in not_made])
    if not wanted:
        name, reason = next(iter(not_made.items()))
        raise UserError(f"target '{target.name}' wants nothing but {name}, which cannot be made: {reason}")
    with_executorch = any(runtime_of(name) == "executorch" for name in wanted)
    if with_executorch:
        from safedeploy.export.executorch import require_executorch

        require_executorch()
    model = copy.deepcopy(module).cpu().eval()
    input_shape = x.shape[1:]
    judge = model if trained is None else copy.deepcopy(trained).cpu().eval()
    logits = reference_logits(judge, model_name, class_names, calibration, x, y)
    known = Known(y, logits, torch_answers(judge), torch_rounding(judge))
    questions = Questions(x, f"{len(x):,} validation inputs", known, tokens)
    make_folder(folder.parent)
    try:
        with (
            tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary,
            asked_apart(executorch=with_executorch) as hostile,
        ):
            asked = Asked(questions, target, len(class_names), hostile)
            fresh = make_folder(Path(temporary) / folder.name)
            files, verified = [], []
            plain = make_folder(Path(temporary) / "plain")
            for done, name in enumerate(wanted):
                delegation = _export(name, model, input_shape, plain, target, model_name, calibration)
                encoding = finish(plain / name, fresh / name, target)
                if progress is not None:
                    progress((done + 0.7) / len(wanted))
                file, found = _verified(fresh / name, name, asked, delegation, encoding)
                files.append(file)
                verified.append(found)
                if progress is not None:
                    progress((done + 1) / len(wanted))
            if isinstance(preprocessing, Tokeniser):
                write_text(fresh / preprocessing.described.file, preprocessing.content)
            manifest = Manifest(
                target=target.name,
                model=model_name,
                structure=structure,
                parameters=sum(parameter.numel() for parameter in model.parameters()),
                input_shape=list(input_shape),
                input_dtype="int64" if tokens else "float32",
                input_layout="NL" if tokens else "NCHW" if len(input_shape) == 3 else "NF",
                output="logits",
                preprocessing=preprocessing.described if isinstance(preprocessing, Tokeniser) else preprocessing,
                classes=list(class_names),
                files=files,
                versions=versions(),
                runtimes={name: f"{runtime.package} >= {runtime.minimum}" for name, runtime in target.runtimes.items()},
                calibration_inputs=len(calibration),
                budget=SizeBudget(disk_bytes=target.budget.disk_bytes, download_bytes=target.budget.download_bytes),
                not_made=not_made,
            )
            manifest.write(fresh / MANIFEST)
            contents = whole(fresh, manifest)
            replace(folder, fresh, Path(temporary) / "earlier")
            if record is not None:
                verification(folder.name, manifest, questions, verified, [contents], []).write(record)
    except OSError as error:
        why = error.strerror or error
        raise UserError(f"cannot write {folder}: {why}; choose a writable folder with free space") from None
    return manifest


def _in_order(files: Sequence[FileName]) -> list[FileName]:
    """The float32 ONNX file first: the int8 one is made from it."""
    return sorted(dict.fromkeys(files), key=get_args(FileName).index)


def _export(
    name: FileName,
    model: "torch.nn.Module",
    input_shape: tuple[int, ...],
    folder: Path,
    target: Target,
    model_name: str,
    calibration: NDArray[np.float32],
) -> Delegation | None:
    from safedeploy.export import executorch, onnx, onnx_int8

    float32 = folder / "model.onnx"
    match name:
        case "model.onnx":
            onnx.export_onnx(model, input_shape, float32, opset=target.opset, model_name=model_name)
        case "model.int8.onnx":
            if not float32.exists():
                onnx.export_onnx(model, input_shape, float32, opset=target.opset, model_name=model_name)
            onnx_int8.quantise_onnx(float32, folder / name, calibration, target.quantisation)
        case "model.pte":
            return executorch.export_pte(model, input_shape, folder / name, model_name=model_name)
        case "model.int8.pte":
            return executorch.export_int8_pte(
                model, input_shape, folder / name, calibration, target.quantisation, model_name=model_name
            )
    return None


def _verified(
    path: Path, name: FileName, asked: Asked, delegation: Delegation | None, encoding: Encoding | None
) -> tuple[BundleFile, FileVerification]:
    """What the manifest says of a file that passed every check. Raises OutOfTolerance for one that did not."""
    found = verify_file(path, precision_of(name), asked)
    for one in found.outcomes:
        if one.passed is False:
            raise OutOfTolerance(
                f"{name} {one.detail}" if one.check == "answers" else f"{name}: {one.check}: {one.detail}"
            )
    assert found.answers is not None
    info = artifact_info(path)
    file = BundleFile(
        name=name,
        runtime=runtime_of(name),
        precision=precision_of(name),
        sha256=info.sha256,
        size_bytes=info.size_bytes,
        zip_bytes=info.zip_bytes,
        check=Check(**found.answers.model_dump(include=set(Check.model_fields))),
        delegation=delegation,
        codecs=encoding.codecs if encoding else {},
        plain_bytes=encoding.before_bytes if encoding else None,
        values=asked.target.rounding(name) or "float32",
    )
    return file, found.model_copy(update={"outcomes": [*identity(path, file), *found.outcomes]})
