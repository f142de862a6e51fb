"""Device profiles: at least ten, every one of them and every figure with its source; a user's own is checked."""

from pathlib import Path

import pytest

from safedeploy.bench.profiles import list_profiles, load_profile
from safedeploy.errors import UserError

OWN = """
name = "Till"
kind = "board"
abi = "arm64-v8a"
sources = ["its own data sheet"]
[[clusters]]
cores = 4
name = "Cortex-A55"
"""


def test_there_are_phones_and_boards_and_every_figure_has_a_source() -> None:
    profiles = list_profiles()
    assert len(profiles) >= 10
    assert {one.kind for one in profiles.values()} == {"phone", "board"}
    for one in profiles.values():
        assert all(source.strip() for source in one.sources)
        assert all(run.source.strip() and run.runtime for run in one.published)
        assert one.published


@pytest.mark.parametrize(
    ("name", "threads", "cores", "milliseconds"),
    [
        ("oneplus-7t", 4, "big", (4.68, 10.35, 26.24)),
        ("google-pixel-4a-5g", 4, "big", (13.27, 33.31, 68.2)),
        ("xiaomi-redmi-2", 4, "all", (82.0, 144.99, 393.71)),
        ("raspberry-pi-5", 4, "all", (10.52, 19.96, 46.21)),
    ],
)
def test_published_latencies_are_those_of_ncnns_table(name: str, threads: int, cores: str, milliseconds) -> None:
    """MobileNetV2, ResNet-18 and ResNet-50 at 224 × 224, averages, read off the table by hand."""
    run = next(
        one
        for one in load_profile(name).published
        if (one.threads, one.cores) == (threads, cores) and one.precision != "int8"
    )
    assert tuple(run.ms[model] for model in ("mobilenet_v2", "resnet18", "resnet50")) == milliseconds
    assert run.runtime == "ncnn"


def test_i8mm_implies_dot_products_and_those_imply_halves() -> None:
    """Armv8.6 requires what Armv8.4 did; every core that has dot products here has float16 arithmetic."""
    for one in list_profiles().values():
        assert not (one.i8mm and not one.dotprod)
        assert not (one.dotprod and not one.fp16)


def test_a_users_own_profile_may_leave_out_what_nobody_says(tmp_path: Path) -> None:
    path = tmp_path / "till.toml"
    path.write_text(OWN)
    till = load_profile(str(path))
    assert (till.name, till.soc, till.dotprod, till.published) == ("Till", None, None, [])


def test_an_unknown_device_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown device 'raspbery-pi-5'; did you mean 'raspberry-pi-5'\?"):
        load_profile("raspbery-pi-5")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("abi", 'abi = "arm64"'), r"abi: unknown value 'arm64'; did you mean 'arm64-v8a'\?"),
        (("sources", "sources = []"), "sources: List should have at least 1 item"),
        (("cores", "cores = 0"), r"clusters\.0\.cores: Input should be greater than 0"),
        (("kind", 'kind = "board"\nspeed = 3'), "speed: unknown key 'speed'"),
        (("kind", "kind = "), "is not TOML"),
        (('name = "Cortex', "name = 5"), r"clusters\.0\.name"),
    ],
)
def test_a_faulty_profile_is_one_line_with_file_and_key(tmp_path: Path, change, complaint: str) -> None:
    begins, line = change
    path = tmp_path / "own.toml"
    path.write_text("\n".join(line if old.startswith(begins) else old for old in OWN.splitlines()))
    with pytest.raises(UserError, match=complaint) as error:
        load_profile(str(path))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_latency_on_more_threads_than_cores_is_refused(tmp_path: Path) -> None:
    run = '[[published]]\nruntime = "r"\nprecision = "int8"\nthreads = 8\ncores = "all"\ninput = [1]\nsource = "s"\n'
    path = tmp_path / "own.toml"
    path.write_text(f"{OWN}{run}ms = {{ m = 1 }}\n")
    with pytest.raises(UserError, match=r"published\.0\.threads: 8 threads on 4 cores"):
        load_profile(str(path))
