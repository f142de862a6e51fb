"""How targets and devices are printed. A published latency always says whose it is, and that it predicts nothing."""

from collections.abc import Mapping

from safedeploy.bench.profiles import Cluster, DeviceProfile
from safedeploy.cli import show
from safedeploy.export.targets import Target

NO_PREDICTION = "published by others, of another runtime: no prediction of safedeploy's files"


def show_targets(targets: Mapping[str, Target]) -> None:
    rows = [
        [name, ", ".join(target.files), str(target.opset), _budget(target), target.description]
        for name, target in targets.items()
    ]
    show.table("Targets", ["name", "files", "opset", "each file at most", "for"], rows)


def show_target(target: Target) -> None:
    """As the TOML that a user's own file could begin with."""
    import tomli_w

    print(tomli_w.dumps(target.model_dump(mode="json", exclude_none=True)), end="")


def show_profiles(profiles: Mapping[str, DeviceProfile]) -> None:
    rows = [
        [name, one.name, one.soc or "", _cores(one.clusters), _memory(one), one.abi, _instructions(one), _fastest(one)]
        for name, one in profiles.items()
    ]
    columns = ["device", "name", "SoC", "cores, GHz", "memory", "ABI", "dotprod, fp16, i8mm", "MobileNetV2, ms"]
    show.table(f"Devices. Latencies are {NO_PREDICTION}", columns, rows)


def show_profile(one: DeviceProfile) -> None:
    facts = {
        "SoC": one.soc,
        "cores, GHz": _cores(one.clusters),
        "memory": _memory(one),
        "ABI": one.abi,
        "system": one.os,
        "Android API": one.android_api and str(one.android_api),
        "dotprod, fp16, i8mm": _instructions(one),
    }
    show.table(one.name, ["what", "value"], [[key, value] for key, value in facts.items() if value])
    if one.published:
        rows = [
            [model, f"{ms:g}", run.runtime, run.precision, str(run.threads), run.cores, run.measured_on or one.name]
            for run in one.published
            for model, ms in run.ms.items()
        ]
        columns = ["model", "ms", "runtime", "precision", "threads", "cores", "measured on"]
        show.table(f"Latencies {NO_PREDICTION}", columns, rows)
    for source in dict.fromkeys([*one.sources, *(run.source for run in one.published)]):
        print(f"source: {source}")


def _budget(target: Target) -> str:
    limits = {"on disk": target.budget.disk_bytes, "zipped": target.budget.download_bytes}
    return ", ".join(f"{limit / 1e6:g} MB {where}" for where, limit in limits.items() if limit)


def _cores(clusters: list[Cluster]) -> str:
    return ", ".join(
        f"{one.cores} × {one.design or one.name}{f' {one.max_ghz:g}' if one.max_ghz else ''}" for one in clusters
    )


def _memory(one: DeviceProfile) -> str:
    return f"{'/'.join(f'{size:g}' for size in one.ram_gb)} GB" if one.ram_gb else ""


def _instructions(one: DeviceProfile) -> str:
    flags = {"dotprod": one.dotprod, "fp16": one.fp16, "i8mm": one.i8mm}
    if all(flag is None for flag in flags.values()):
        return ""
    return ", ".join(name for name, flag in flags.items() if flag) or "none of these"


def _fastest(one: DeviceProfile) -> str:
    runs = [(run.ms["mobilenet_v2"], run) for run in one.published if "mobilenet_v2" in run.ms]
    if not runs:
        return ""
    ms, run = min(runs, key=lambda found: found[0])
    return f"{ms:g} ({run.runtime}, {run.threads} thread{'s' * (run.threads > 1)})"
