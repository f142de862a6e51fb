"""What the aarch64 tree is made of comes from apt and pip alone, checked; tried on an archive and wheels made here."""

import gzip
import hashlib
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from safedeploy.bench.devices.tree import debian, wheels
from safedeploy.errors import UserError

needs_apt = pytest.mark.skipif(not debian.has_apt(), reason="no apt here")


class Archive:
    """A Debian archive in a folder, of packages that hold one file each."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.stanzas = folder, {}
        folder.mkdir()

    def add(self, name: str, version: str, *, depends: str = "", content: str = "content") -> Path:
        source = self.folder / f"source-{name}"
        (source / "DEBIAN").mkdir(parents=True)
        (source / "usr" / "share").mkdir(parents=True)
        (source / "usr" / "share" / name).write_text(content)
        control = f"Package: {name}\nVersion: {version}\nArchitecture: arm64\nMaintainer: nobody <n@example.org>\n"
        control += f"Depends: {depends}\n" * bool(depends) + "Description: a package\n"
        (source / "DEBIAN" / "control").write_text(control)
        file = self.folder / f"{name}.deb"
        subprocess.run(["dpkg-deb", "--build", "-Znone", source, file], check=True, capture_output=True)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        self.stanzas[name] = f"{control}Filename: {file.name}\nSize: {file.stat().st_size}\nSHA256: {digest}\n"
        self.write()
        return file

    def write(self) -> None:
        listed = "\n".join(self.stanzas.values()).encode()
        (self.folder / "Packages").write_bytes(listed)
        (self.folder / "Packages.gz").write_bytes(gzip.compress(listed))


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """The only archive that apt knows; it is asked through a copying method, as a server would be."""
    made = Archive(tmp_path / "archive")
    sources = tmp_path / "sources.list"
    sources.write_text(f"deb [trusted=yes] copy:{made.folder} ./\n")
    config = tmp_path / "apt.conf"
    config.write_text(f'Dir::Etc::SourceList "{sources}";\nDir::Etc::SourceParts "/dev/null";\n')
    monkeypatch.setenv("APT_CONFIG", str(config))
    return made


@needs_apt
def test_packages_come_with_what_they_depend_on_and_nothing_else(archive: Archive, tmp_path: Path) -> None:
    archive.add("needed", "1:2.0-1", content="the library")
    archive.add("wanted", "3.1", depends="needed")
    archive.add("other", "1")
    found = debian.download(["wanted"], "arm64", tmp_path / "downloads")
    assert {(one.name, one.version) for one in found} == {("wanted", "3.1"), ("needed", "1:2.0-1")}
    for one in found:
        content = (tmp_path / "downloads" / one.file).read_bytes()
        assert (one.sha256, one.size_bytes) == (hashlib.sha256(content).hexdigest(), len(content))
    root = debian.unpack(found, tmp_path / "downloads", tmp_path / "root")
    assert (root / "usr/share/needed").read_text() == "the library"


@needs_apt
def test_what_was_fetched_is_enough_without_the_archive(archive: Archive, tmp_path: Path) -> None:
    archive.add("wanted", "1")
    first = debian.download(["wanted"], "arm64", tmp_path / "downloads")
    shutil.rmtree(archive.folder)
    assert debian.download(["wanted"], "arm64", tmp_path / "downloads") == first


@needs_apt
def test_a_damaged_file_is_fetched_again_or_it_is_one_line(archive: Archive, tmp_path: Path) -> None:
    archive.add("wanted", "1")
    (only,) = debian.download(["wanted"], "arm64", tmp_path / "downloads")
    path = tmp_path / "downloads" / only.file
    good = path.read_bytes()
    path.write_bytes(good[:-1] + b"?")
    assert debian.download(["wanted"], "arm64", tmp_path / "downloads") == [only]
    assert path.read_bytes() == good
    path.write_bytes(good[:-1] + b"?")
    shutil.rmtree(archive.folder)
    with pytest.raises(UserError, match=r"apt .*--sysroot DIR$") as caught:
        debian.download(["wanted"], "arm64", tmp_path / "downloads")
    assert "\n" not in str(caught.value)


@needs_apt
@pytest.mark.parametrize("same_size", [True, False])
def test_a_package_that_is_not_the_one_listed_is_refused(archive: Archive, tmp_path: Path, same_size: bool) -> None:
    file = archive.add("wanted", "1")
    file.write_bytes(file.read_bytes()[:-1] + b"?" if same_size else b"!<arch>")
    with pytest.raises(UserError, match=r"cannot fetch the arm64 packages|came damaged") as caught:
        debian.download(["wanted"], "arm64", tmp_path / "downloads")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "downloads" / debian.LISTED).exists()


@needs_apt
def test_a_package_that_apt_does_not_know_is_one_line(archive: Archive, tmp_path: Path) -> None:
    archive.add("other", "1")
    with pytest.raises(UserError, match="Unable to locate package wanted") as caught:
        debian.download(["wanted"], "arm64", tmp_path / "downloads")
    assert "\n" not in str(caught.value)


NAME = "arithmetic-1.0-cp311-cp311-manylinux_2_17_aarch64.whl"


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the one wheel that pip is offered, for CPython 3.11 on aarch64."""
    folder = tmp_path / "offered"
    folder.mkdir()
    with zipfile.ZipFile(folder / NAME, "w") as wheel:
        wheel.writestr("arithmetic/__init__.py", "one = 1\n")
        wheel.writestr("arithmetic/tests/test_one.py", "")
        wheel.writestr("arithmetic-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: arithmetic\nVersion: 1.0\n")
        wheel.writestr("arithmetic-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n")
        wheel.writestr("arithmetic-1.0.dist-info/RECORD", "")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def listing(path: Path, digest: str) -> Path:
    path.write_text(f"# a comment\narithmetic==1.0 \\\n    --hash=sha256:{'0' * 64} \\\n    --hash=sha256:{digest}\n")
    return path


def test_a_wheel_whose_hash_is_listed_is_taken_and_kept(offered: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256((offered / NAME).read_bytes()).hexdigest()
    listed = listing(tmp_path / "list.txt", digest)
    (only,) = wheels.download(11, tmp_path / "downloads", listed)
    assert (only.name, only.version, only.sha256) == ("arithmetic", "1.0", digest)
    (offered / NAME).unlink()
    assert wheels.download(11, tmp_path / "downloads", listed) == [only]
    wheels.unpack([only], tmp_path / "downloads", tmp_path / "site")
    assert (tmp_path / "site/arithmetic/__init__.py").read_text() == "one = 1\n"
    assert not (tmp_path / "site/arithmetic/tests").exists()


def test_a_wheel_of_another_hash_is_one_line(offered: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"arithmetic==1.0.*sha256 differs") as caught:
        wheels.download(11, tmp_path / "downloads", listing(tmp_path / "list.txt", "f" * 64))
    assert "\n" not in str(caught.value)


def test_a_wheel_damaged_on_disk_is_fetched_again_or_it_is_one_line(offered: Path, tmp_path: Path) -> None:
    listed = listing(tmp_path / "list.txt", hashlib.sha256((offered / NAME).read_bytes()).hexdigest())
    (only,) = wheels.download(11, tmp_path / "downloads", listed)
    (tmp_path / "downloads" / NAME).write_bytes(b"PK, but cut")
    assert wheels.download(11, tmp_path / "downloads", listed) == [only]
    (tmp_path / "downloads" / NAME).write_bytes(b"PK, but cut")
    (offered / NAME).unlink()
    with pytest.raises(UserError, match=r"cannot fetch the aarch64 wheels: .*arithmetic") as caught:
        wheels.download(11, tmp_path / "downloads", listed)
    assert "\n" not in str(caught.value)


def test_the_shipped_list_has_a_hash_for_every_python() -> None:
    for pin in wheels.pins(wheels.LISTS["onnxruntime"]):
        assert len(pin.hashes) == len(wheels.MINORS), pin.name
