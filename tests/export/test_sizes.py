"""Size budgets: bytes on disk and zipped, each file against both; within them nothing is said."""

import pytest

from safedeploy.export.sizes import OverBudget, over_budget, require_within
from safedeploy.results import BundleFile, Check, Manifest, Preprocessing, SizeBudget

CHECK = Check(
    samples=1, max_logit_difference=0, mean_logit_difference=0, top1_agreement=1, accuracy=1, torch_accuracy=1
)


def manifest(budget: SizeBudget) -> Manifest:
    files = [
        BundleFile(
            name=name,
            runtime="onnxruntime",
            precision="float32",
            sha256="0" * 64,
            size_bytes=size,
            zip_bytes=size // 2,
            check=CHECK,
        )
        for name, size in (("model.onnx", 4000), ("model.int8.onnx", 1000))
    ]
    return Manifest(
        target="kiosk",
        model="m",
        input_shape=[4],
        input_dtype="float32",
        input_layout="NF",
        output="logits",
        preprocessing=Preprocessing(raw="", scale=1, mean=[0], std=[1]),
        classes=["a", "b"],
        files=files,
        versions={},
        budget=budget,
    )


@pytest.mark.parametrize(
    ("budget", "over"),
    [
        (SizeBudget(), []),
        (SizeBudget(disk_bytes=4000, download_bytes=2000), []),
        (SizeBudget(disk_bytes=3999), ["model.onnx is 4,000 bytes on disk, over the 3,999 of target 'kiosk'"]),
        (
            SizeBudget(download_bytes=400),
            ["model.onnx is 2,000 bytes to download", "model.int8.onnx is 500 bytes to d"],
        ),
    ],
)
def test_files_over_a_limit_are_told_with_both_figures(budget: SizeBudget, over: list[str]) -> None:
    found = over_budget(manifest(budget))
    assert len(found) == len(over)
    assert all(line.startswith(wanted) for line, wanted in zip(found, over, strict=True))


def test_the_error_is_one_line_and_ends_with_3() -> None:
    require_within(manifest(SizeBudget(disk_bytes=4000)))
    with pytest.raises(OverBudget, match=r"model\.onnx is .* \(and 1 more\); the bundle is kept") as error:
        require_within(manifest(SizeBudget(disk_bytes=10)))
    assert error.value.exit_code == 3
    assert "\n" not in str(error.value)
