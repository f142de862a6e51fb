"""What importing safedeploy costs, and that every module of the reviewer's install imports without the extras."""

import pkgutil
import subprocess
import sys

import safedeploy


def modules_after(script: str) -> set[str]:
    answer = subprocess.run(
        [sys.executable, "-c", f"import sys; {script}; print(' '.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in answer.stdout.split()}


def test_import_safedeploy_costs_nothing():
    assert modules_after("import safedeploy").isdisjoint({"numpy", "torch", "pydantic", "onnx", "typer"})


def test_the_pipeline_and_the_rooms_a_reviewer_needs_import_no_torch():
    rooms = ("pipeline", "doctor", "audit.audit", "report.html", "bench.protocol", "export.targets", "data.load")
    loaded = modules_after(f"import {', '.join(f'safedeploy.{room}' for room in rooms)}")
    assert loaded.isdisjoint({"torch", "torchvision", "executorch", "accelerate", "pandas", "pyarrow", "transformers"})


def test_every_module_begins_by_saying_what_it_is():
    import ast
    from pathlib import Path

    silent = [
        found.name
        for found in pkgutil.walk_packages(safedeploy.__path__, "safedeploy.")
        if not found.ispkg
        and not ast.get_docstring(
            ast.parse(Path(found.module_finder.path, f"{found.name.rpartition('.')[2]}.py").read_text())
        )
    ]
    assert silent == []


def test_the_api_and_the_rooms_of_the_same_names_live_together():
    """`safedeploy.audit` is a package and a function, whichever is asked for first."""
    for first in ("from safedeploy import audit", "import safedeploy.audit.exam", "import safedeploy.pipeline"):
        script = (
            f"{first}; import safedeploy; import safedeploy.audit.verdict as verdict;"
            "assert callable(safedeploy.audit); assert verdict.decide is safedeploy.audit.verdict.decide;"
            "from safedeploy.audit.exam import Exam; from safedeploy import audit, bench, export, plan, report;"
            "assert all(map(callable, (audit, bench, export, plan, report)))"
        )
        assert "safedeploy" in modules_after(script)
