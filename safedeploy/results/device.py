"""What a device is made of (`tree.json`), and whether a file answers there as it does here (`*.agreement.json`)."""

from typing import Literal

from safedeploy.results.base import ArtifactInfo, Probability, Result, ResultFile


class Package(Result):
    """A package the tree was made of. `checked`: what its sha256 was held against before it was unpacked."""

    name: str
    version: str
    file: str
    sha256: str
    size_bytes: int
    checked: Literal["apt's signed package list", "safedeploy's list of wheels"]


class TreeLock(ResultFile):
    """The relocatable aarch64 tree (`tree.json`): written last, so a tree without it is half-built.

    `digest`: sha256 over the sorted names and sha256 of all `files` files. `sysroot`: whose libraries and Python were
    taken instead of packages, or empty.
    """

    python: str
    packages: list[Package]
    sysroot: str
    files: int
    size_bytes: int
    digest: str


class Agreement(ResultFile):
    """A file's answers on another machine beside this one's (`bench/TARGET/FILE.agreement.json`), on the same inputs.

    `identical`: bit for bit. `largest_logit`: of this machine's answers; the tolerance for a float32 file is a share of
    it. `within`: whether the target's tolerance for a file of this precision holds. There is no latency: the other
    machine is emulated.
    """

    artifact: ArtifactInfo
    precision: Literal["float32", "int8"]
    device: str
    machine: dict[str, str]
    runtime: str
    here: dict[str, str]
    runtime_here: str
    inputs: Literal["validation", "random"]
    samples: int
    max_logit_difference: float
    mean_logit_difference: float
    largest_logit: float
    top1_agreement: Probability
    identical: bool
    target: str
    allowed: str
    within: bool
