"""A whole bundle, checked: its manifest against its folder, then every file in its real runtime."""

from collections.abc import Callable
from pathlib import Path

from safedeploy.errors import UserError
from safedeploy.export.hostile import asked_apart
from safedeploy.export.place import MANIFEST
from safedeploy.export.questions import Questions
from safedeploy.export.targets import Target
from safedeploy.export.verify_file import Asked, told, verify_file
from safedeploy.results import BundleFile, FileVerification, Manifest, Outcome, TextPreprocessing, Verification
from safedeploy.rundir import sha256
from safedeploy.versions import versions

WANTED = 500  # real inputs


class CheckFailed(UserError):  # noqa: N818
    """A check of a bundle failed; the message names file and check."""

    exit_code = 1


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the bundle `folder`. Raises UserError where there is none, or one that is not of a bundle."""
    place = folder / MANIFEST
    if not place.is_file():
        what = "has no manifest.json" if folder.is_dir() else "is not a folder" if folder.exists() else "does not exist"
        raise UserError(f"{folder} {what}; give a bundle, as runs/NAME/bundle/TARGET")
    manifest = Manifest.read(place)
    if foreign := [file.name for file in manifest.files if Path(file.name).name != file.name]:
        raise UserError(f"{place} names '{foreign[0]}', which is no file of its folder; export the bundle again")
    return manifest


def verify_bundle(
    folder: Path,
    manifest: Manifest,
    target: Target,
    questions: Questions,
    *,
    not_checked: list[str],
    progress: Callable[[float], None] | None = None,
) -> Verification:
    """Every check of the bundle in `folder`, whatever they find; `target` says how far files may stray.

    not_checked: what the caller knows could not be. progress: told the share done, 0 to 1.
    """
    with asked_apart(executorch=any(file.runtime == "executorch" for file in manifest.files)) as hostile:
        asked = Asked(questions, target, len(manifest.classes), hostile)
        files = []
        for done, file in enumerate(manifest.files):
            files.append(checked(folder / file.name, file, asked))
            if progress is not None:
                progress((done + 1) / len(manifest.files))
    return verification(folder.name, manifest, questions, files, [whole(folder, manifest)], not_checked)


def checked(path: Path, file: BundleFile, asked: Asked) -> FileVerification:
    """A file's bytes against what the manifest says of it, then, if they are the same, what they do."""
    bytes_are = identity(path, file)
    if any(one.passed is False for one in bytes_are):
        unrun = Outcome(check="runs", passed=None, detail="not run: these are not the manifest's bytes")
        return told(path.name, [*bytes_are, unrun])
    if missing := _missing_runtime(file):
        return told(path.name, [*bytes_are, Outcome(check="runs", passed=None, detail=missing)])
    found = verify_file(path, file.precision, asked)
    return found.model_copy(update={"outcomes": [*bytes_are, *found.outcomes]})


def _missing_runtime(file: BundleFile) -> str | None:
    from importlib.util import find_spec

    if file.runtime == "executorch" and find_spec("executorch") is None:
        return "not run: ExecuTorch is not installed here (the extra 'executorch')"
    return None


def identity(path: Path, file: BundleFile) -> list[Outcome]:
    """Present, of the size and of the hash that the manifest names."""
    try:
        size = path.stat().st_size
        if size != file.size_bytes:
            said = f"{size:,} bytes, the manifest says {file.size_bytes:,}: cut short or replaced"
            return [Outcome(check="size", passed=False, detail=said)]
        digest = sha256(path)
    except FileNotFoundError:
        return [Outcome(check="present", passed=False, detail="the manifest names it, the bundle has it not")]
    except OSError as error:
        return [Outcome(check="present", passed=False, detail=f"cannot be read: {error.strerror}")]
    same = digest == file.sha256
    said = f"sha256 {digest[:12]}…" + ("" if same else f", the manifest says {file.sha256[:12]}…: changed since export")
    return [Outcome(check="hash", passed=same, detail=said)]


def whole(folder: Path, manifest: Manifest) -> Outcome:
    """Nothing lies in the bundle that the manifest does not name."""
    known = {MANIFEST, *(file.name for file in manifest.files)}
    how = manifest.preprocessing
    if isinstance(how, TextPreprocessing):
        known.add(how.file)
        if not (folder / how.file).is_file() or sha256(folder / how.file) != how.sha256:
            said = f"'{how.file}', which turns text into tokens, is missing or changed since export"
            return Outcome(check="contents", passed=False, detail=said)
    extra = sorted(entry.name for entry in folder.iterdir() if entry.name not in known)
    if extra:
        more = f" and {len(extra) - 1} more" if len(extra) > 1 else ""
        return Outcome(check="contents", passed=False, detail=f"'{extra[0]}'{more} ships and is not in the manifest")
    return Outcome(check="contents", passed=True, detail="the manifest and its files, nothing else")


def verification(
    bundle: str,
    manifest: Manifest,
    questions: Questions,
    files: list[FileVerification],
    outcomes: list[Outcome],
    not_checked: list[str],
) -> Verification:
    samples, notes = len(questions.x), list(not_checked)
    if questions.known is not None and samples < WANTED:
        notes.append(f"{samples} real inputs instead of {WANTED}: the validation role has no more")
    return Verification(
        bundle=bundle,
        target=manifest.target,
        model=manifest.model,
        passed=all(file.passed for file in files) and all(one.passed is not False for one in outcomes),
        samples=samples,
        inputs=questions.described,
        outcomes=outcomes,
        files=files,
        not_checked=notes,
        versions=versions(),
    )


def require_passed(found: Verification) -> None:
    """Raises CheckFailed with the first failure and how many there are."""
    if failures := found.failures:
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        raise CheckFailed(f"bundle '{found.bundle}': {failures[0]}{more}")
