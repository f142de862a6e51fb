"""Leakage against accuracy against size: what each method leaks beside dense training stopped at the same accuracy."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.pareto_judge import CORRECTNESS, PAPERS

Rows = Sequence[dict[str, Any]]
Key = tuple[str, str, str, float]  # data, model, method, density

CONTROL = "dense"  # and 'dense+early-stop:…': the early-stopping curve


def summary(rows: Rows, judges: Sequence[str] = ()) -> list[dict[str, Any]]:
    """A row a method and density: means over seeds, judged by the attack (of `judges`) whose mean AUC is highest.

    leakage_ratio: (AUC − ½) over that of early-stopped dense at the same accuracy; difference: the two AUCs', with
    Student's 95 % interval over seeds. The dense curve is piecewise linear between its stops' means; beyond its ends
    it is its last point, and `matched` says so. frontier: none other is at least as accurate, as private and as small.
    """
    cells: dict[Key, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        cells[row["data"], row["model"], row["method"], row["density"]].append(row)
    found = []
    for (data, model, method, density), mine in cells.items():
        curve = _dense_curve({key: part for key, part in cells.items() if key[:2] == (data, model)}, judges)
        best = strongest(mine, judges)
        accuracy, auc = (np.array([row[name] for row in best]) for name in ("test_accuracy", "auc"))
        low, middle, high = interval(auc)
        line: dict[str, Any] = {
            "data": data,
            "model": model,
            "method": method,
            "density": density,
            "bytes": best[0]["bytes"],
            "seconds": best[0]["seconds"],
            "test_accuracy": float(accuracy.mean()),
            "attack": best[0]["attack"],
            "auc": middle,
            "auc_interval": f"{low:.3f} to {high:.3f}",
            "tpr_1": float(np.mean([row["tpr_1"] for row in best])),
            "papers_accuracy": float(np.mean([row["balanced_accuracy"] for row in mine if row["attack"] == PAPERS])),
        }
        found.append(line | _beside(curve, accuracy, auc))
    for line in found:
        line["frontier"] = not any(_dominates(other, line) for other in found if other["data"] == line["data"])
    return sorted(found, key=lambda line: (line["data"], line["model"], -line["test_accuracy"]))


def strongest(rows: Rows, judges: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The rows of the attack (of `judges`, at any views) whose mean AUC is highest; correctness is no attack."""
    by_attack: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["attack"].partition(" ")[0] in judges or (not judges and row["attack"] != CORRECTNESS):
            by_attack[row["attack"]].append(row)
    return max(by_attack.values(), key=lambda some: float(np.mean([row["auc"] for row in some])))


def paired(rows: Rows, base: str, attacks: Sequence[str]) -> list[dict[str, Any]]:
    """A row a method and density: accuracy and each attack's AUC less those of `base` with the same members.

    Means over seeds ± half of Student's 95 % interval.
    """
    cells: dict[Key, dict[tuple[str, int], dict[str, Any]]] = defaultdict(dict)
    for row in rows:
        cells[row["data"], row["model"], row["method"], row["density"]][row["attack"], row["seed"]] = row
    found = []
    for (data, model, method, density), mine in cells.items():
        for (*place, other, _), theirs in cells.items():
            if (data, model, base) != (*place, other) or method == base:
                continue
            line: dict[str, Any] = {"data": data, "method": method, "density": density, "beside": base}
            for name, attack in (("test_accuracy", attacks[0]), *(("auc", attack) for attack in attacks)):
                seeds = [seed for one, seed in mine if one == attack and (attack, seed) in theirs]
                ahead = np.array([mine[attack, seed][name] - theirs[attack, seed][name] for seed in seeds])
                low, middle, _ = interval(ahead)
                line[attack if name == "auc" else name] = f"{middle:+.3f} ± {middle - low:.3f}"
            found.append(line)
    return found


def interval(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """(low, mean, high): Student's 95 % interval of the mean over seeds."""
    mean, count = float(values.mean()), len(values)
    if count < 2:
        return mean, mean, mean
    half = float(stats.t.ppf(0.975, count - 1) * values.std(ddof=1) / np.sqrt(count))
    return mean - half, mean, mean + half


def _dense_curve(cells: dict[Key, list[dict[str, Any]]], judges: Sequence[str]) -> NDArray[np.float64] | None:
    """(stops, 2): mean accuracy, rising, and mean AUC of dense training and its early stops; None without any."""
    points = []
    for (_, _, method, _), rows in cells.items():
        if method == CONTROL or (method.startswith(f"{CONTROL}+early-stop") and "@" not in method):
            best = strongest(rows, judges)
            points.append([np.mean([row[name] for row in best]) for name in ("test_accuracy", "auc")])
    return np.array(sorted(points)) if points else None


def _beside(
    curve: NDArray[np.float64] | None, accuracy: NDArray[np.float64], auc: NDArray[np.float64]
) -> dict[str, Any]:
    if curve is None:
        return {"dense_auc": "", "leakage_ratio": "", "difference": "", "matched": ""}
    dense = np.interp(accuracy, curve[:, 0], curve[:, 1])
    low, middle, high = interval(auc - dense)
    reach = "yes"
    if accuracy.mean() < curve[0, 0]:
        reach = "below the first stop"
    elif accuracy.mean() > curve[-1, 0]:
        reach = "above dense"
    return {
        "dense_auc": float(dense.mean()),
        "leakage_ratio": float((auc.mean() - 0.5) / max(1e-9, dense.mean() - 0.5)),
        "difference": f"{middle:+.3f} ({low:+.3f} to {high:+.3f})",
        "matched": reach,
    }


def _dominates(other: dict[str, Any], line: dict[str, Any]) -> bool:
    better = (
        other["test_accuracy"] >= line["test_accuracy"],
        other["auc"] <= line["auc"],
        other["bytes"] <= line["bytes"],
    )
    return other is not line and all(better)


def plot(lines: Rows, path: Path) -> None:
    """AUC against test accuracy, a panel a data set; a point's area is its file's size; the dense curve is drawn.

    Circles are methods alone, squares have a defence beside them, triangles another training.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    names = sorted({line["data"] for line in lines})
    families = sorted({_family(line) for line in lines})
    kinds = {family: next((sign for sign in "@+" if sign in family), "") for family in families}
    alike = {family: [other for other in families if kinds[other] == kinds[family]] for family in families}
    colour = {family: mpl.colormaps["tab10"](its.index(family) % 10) for family, its in alike.items()}
    marker = {family: {"": "o", "+": "s", "@": "^"}[kind] for family, kind in kinds.items()}
    figure, axes = plt.subplots(1, len(names), figsize=(6 * len(names), 5), squeeze=False, layout="constrained")
    for axis, name in zip(axes[0], names, strict=True):
        mine = [line for line in lines if line["data"] == name]
        largest = max(line["bytes"] for line in mine)
        for method in sorted({_family(line) for line in mine}):
            some = sorted((line for line in mine if _family(line) == method), key=lambda line: line["test_accuracy"])
            x, y = ([line[column] for line in some] for column in ("test_accuracy", "auc"))
            areas = [20 + 180 * line["bytes"] / largest for line in some]
            axis.scatter(x, y, s=areas, color=colour[method], marker=marker[method])
            if method == CONTROL:
                axis.plot(x, y, linewidth=1, color=colour[method])
        axis.axhline(0.5, color="black", linewidth=0.5)
        axis.set(title=name, xlabel="test accuracy", ylabel="AUC of the strongest attack")
    handles = [plt.Line2D([], [], marker=marker[one], linestyle="", color=colour[one]) for one in families]
    figure.legend(handles, families, loc="outside right upper", fontsize=8)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _family(line: dict[str, Any]) -> str:
    """The method without its values; dense and its early stops are one."""
    method, _, training = line["method"].partition("@")
    name = "+".join(part.partition(":")[0] for part in method.split("+"))
    if training:
        name += "@" + ",".join(part.partition("=")[0] for part in training.split(",") if "=" in part)
    return CONTROL if name == f"{CONTROL}+early-stop" else name
