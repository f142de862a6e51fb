"""Phones and boards as data: what they are made of, and latencies that others published, each with its source."""

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from safedeploy.errors import unknown
from safedeploy.typed_toml import parse_toml, read_toml, typed

Count = Annotated[int, Field(gt=0)]
Positive = Annotated[float, Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Cluster(_Section):
    """Equal cores. `name`: the maker's; `design`: Arm's, where the maker renamed it and a source says which it is."""

    cores: Count
    name: str
    design: str | None = None
    max_ghz: Positive | None = None


class Published(_Section):
    """Milliseconds a query, by model, that `source` gives for `runtime`: of that runtime, and no prediction for ours.

    `cores`: those it ran on. `measured_on`: where that was another device of the same SoC.
    """

    runtime: str
    precision: str
    threads: Count
    cores: Literal["all", "big", "little"]
    input: Annotated[list[Count], Field(min_length=1)]
    ms: Annotated[dict[str, Positive], Field(min_length=1)]
    measured_on: str | None = None
    source: Annotated[str, Field(min_length=1)]


class DeviceProfile(_Section):
    """A phone or board; what no source says is left out. `ram_gb`: of the variants sold.

    `dotprod`, `fp16`, `i8mm`: whether every core has Arm's int8 dot products, float16 arithmetic, int8 matrix products.
    `android_api`: the newest API level that there is a public build for, which `os` names.
    """

    name: str
    kind: Literal["phone", "board"]
    soc: str | None = None
    clusters: Annotated[list[Cluster], Field(min_length=1)]
    abi: Literal["arm64-v8a", "armeabi-v7a", "x86_64"]
    ram_gb: list[Positive] = []
    os: str | None = None
    android_api: Count | None = None
    dotprod: bool | None = None
    fp16: bool | None = None
    i8mm: bool | None = None
    published: list[Published] = []
    sources: Annotated[list[str], Field(min_length=1)]

    @model_validator(mode="after")
    def _has_the_cores(self) -> Self:
        cores = sum(cluster.cores for cluster in self.clusters)
        for number, one in enumerate(self.published):
            if one.threads > cores:
                raise ValueError(f"published.{number}.threads: {one.threads} threads on {cores} cores")
        return self


def load_profile(name_or_path: str) -> DeviceProfile:
    """A shipped profile by its file's name, or a user's own by the path of its TOML file.

    Raises UserError for an unknown name, with the nearest known one, and for a file that is missing or faulty.
    """
    shipped = _shipped()
    if name_or_path in shipped:
        return typed(
            DeviceProfile, parse_toml(shipped[name_or_path], f"device {name_or_path}"), f"device {name_or_path}"
        )
    path = Path(name_or_path)
    if path.suffix == ".toml" or len(path.parts) > 1:
        return typed(DeviceProfile, read_toml(path, "device"), f"device {path}")
    raise unknown("device", name_or_path, shipped)


def list_profiles() -> dict[str, DeviceProfile]:
    """The shipped profiles by the name that loads them."""
    return {name: load_profile(name) for name in sorted(_shipped())}


def is_profile(content: dict[str, Any]) -> bool:
    """Whether a TOML file's content is of a device, and not of a target."""
    return "clusters" in content or "sources" in content


def _shipped() -> dict[str, str]:
    folder = resources.files("safedeploy") / "targets" / "devices"
    return {
        entry.name.removesuffix(".toml"): entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
    }
