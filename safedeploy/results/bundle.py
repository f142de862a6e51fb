"""What ships (`bundle/TARGET/manifest.json`), and what is in a model file."""

from typing import Literal

from pydantic import Field

from safedeploy.recipe import Structure
from safedeploy.results.base import ArtifactInfo, Probability, Result, ResultFile


class Preprocessing(Result):
    """(x · `scale` − mean) / std, per channel or column; `raw` says what x is before it."""

    raw: str
    scale: float
    mean: list[float]
    std: list[float]


class TextPreprocessing(Result):
    """Text as `length` token numbers below `vocabulary`: `file` of the bundle, a tokenizer.json, says how.

    It cuts longer texts and fills shorter ones up with `padding`, which the model does not look at.
    """

    kind: Literal["text"] = "text"
    raw: str
    file: str
    sha256: str
    length: int
    vocabulary: int
    padding: int


class Check(Result):
    """A file's answers in its real runtime against the torch model's, on real validation inputs."""

    samples: int
    max_logit_difference: float
    mean_logit_difference: float
    top1_agreement: Probability
    accuracy: Probability
    torch_accuracy: Probability


class Delegation(Result):
    """ExecuTorch: operators the delegate took, and those it left to the portable kernels (name and count)."""

    delegate: str
    delegated: int
    left: dict[str, int]


class BundleFile(Result):
    """`codecs`: how many weights are stored by each code, empty where none is; `plain_bytes`: the file without codes.

    `values`: what the weights were rounded to before.
    """

    name: str
    runtime: Literal["onnxruntime", "executorch"]
    precision: Literal["float32", "int8"]
    sha256: str
    size_bytes: int
    zip_bytes: int
    check: Check
    delegation: Delegation | None = None
    codecs: dict[str, int] = Field(default_factory=dict)
    plain_bytes: int | None = None
    values: str = "float32"


class SizeBudget(Result):
    """The most that each file may weigh, where there is a limit: as it is, and in a zip of its own."""

    disk_bytes: int | None = None
    download_bytes: int | None = None


class Manifest(ResultFile):
    """What ships (`bundle/TARGET/manifest.json`): nothing in it identifies a training example.

    `versions` made and checked the files; `runtimes` is the package and first version that run them on the target.
    `structure`: of the sparsity; with `channel` and `filter`, the files hold what was left after these were removed.
    `parameters`: weights, biases and norms of the model in the files; None where an older safedeploy wrote them.
    `calibration_inputs`: how many set int8 ranges, none of which is in a file's `check`; None where an older safedeploy
    checked with the very same. `budget`: the target's. `not_made`: files the target wants that this model cannot have,
    and why.
    """

    target: str
    model: str
    structure: Structure = "irregular"
    parameters: int | None = None
    input_shape: list[int]
    input_dtype: Literal["float32", "int64"]
    input_layout: Literal["NCHW", "NF", "NL"]
    output: Literal["logits"]
    preprocessing: Preprocessing | TextPreprocessing
    classes: list[str]
    files: list[BundleFile]
    versions: dict[str, str]
    runtimes: dict[Literal["onnxruntime", "executorch"], str] = Field(default_factory=dict)
    calibration_inputs: int | None = None
    budget: SizeBudget = SizeBudget()
    not_made: dict[str, str] = Field(default_factory=dict)


class StoredTensor(Result):
    """A constant in a model file; `density` is the share of its values that are not zero.

    `codec`: the functions that rebuild it from what is stored, empty where it is stored as it is; `size_bytes`: what is
    stored. `bound_bytes`: the entropy bound, which no code of the places of its non-zeros can pass: log2 of the number
    of ways to place them, and the bits of their values as they are stored.
    """

    name: str
    dtype: str
    shape: list[int]
    nonzero: int
    density: Probability
    size_bytes: int
    codec: str = ""
    bound_bytes: int | None = None


class WeightEncoding(Result):
    """How an ONNX file stores its weights.

    `state`: 'coded' (decoded once, while loading), 'decoded at every inference' (something keeps the runtime from
    folding the codes), 'plain' (sparse weights stored with their zeros: never encoded, or undone by a later tool) or
    'dense' (no weight is sparse enough). `spared_bytes`: what coding spares, or in a plain file would spare at most.
    """

    state: Literal["coded", "decoded at every inference", "plain", "dense"]
    coded: int
    spared_bytes: int


class Inspection(ResultFile):
    """What a model file holds. `white_box`: why it cannot be opened, or empty. `tensors`: None where hidden.

    `encoding`: of an ONNX file. `tokens`: the inputs are whole numbers that stand for words.
    """

    artifact: ArtifactInfo
    input_shape: list[int]
    classes: int
    white_box: str
    operators: dict[str, int]
    tensors: list[StoredTensor] | None
    encoding: WeightEncoding | None = None
    tokens: bool = False
