"""Claims about the Markdown: tables that hold together, every attack, nothing that a name could break."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from safedeploy.report.contents import Contents
from safedeploy.report.markdown import audits_markdown, evidence_markdown, timings_markdown
from safedeploy.results import Evidence, Timing

if TYPE_CHECKING:
    from safedeploy.auditing import Audits


def tables(text: str) -> list[list[str]]:
    blocks = [block.splitlines() for block in text.split("\n\n")]
    return [block for block in blocks if block[0].startswith("|")]


def columns(line: str) -> int:
    return line.replace("\\|", "").count("|") - 1


def test_evidence_shows_verdict_attacks_controls_and_hash(contents: Contents) -> None:
    evidence = contents.shipped.evidence["model.onnx"]

    text = evidence_markdown(evidence)

    assert text.startswith("# Audit of model.onnx\n")
    assert "**Within budget.**" in text
    table, more = tables(text)
    assert len(table) == len(more) == 2 + len(evidence.attacks)
    for attack in evidence.attacks:
        [line] = [line for line in table if line.startswith(f"| {attack.name} |")]
        assert f"{attack.auc:.3f} [{attack.auc_low:.3f}, {attack.auc_high:.3f}]" in line
    for name in ("Correctness", "Blind", "Dense"):
        assert f"- **{name}**: " in text
    assert evidence.artifact.sha256 in text


def test_attacks_not_run_are_listed_with_their_reason(make_evidence: Callable[..., Evidence]) -> None:
    text = evidence_markdown(make_evidence("model.pte"))

    assert "- neural-white-box (white box): an ExecuTorch file does not show its inner activations" in text


def test_a_name_cannot_break_a_table(make_evidence: Callable[..., Evidence]) -> None:
    evidence = make_evidence("model.onnx")
    nasty = evidence.attacks[0].model_copy(update={"name": "a|b <b>`c`\nd"})

    table, more = tables(evidence_markdown(evidence.model_copy(update={"attacks": [nasty, *evidence.attacks[1:]]})))

    assert all(len({columns(line) for line in each}) == 1 for each in (table, more))
    assert any("a\\|b \\<b>\\`c\\` d" in line for line in table)


def test_timings_are_one_row_each_with_their_device(make_timing: Callable[..., Timing]) -> None:
    timings = [
        make_timing("model.onnx"),
        make_timing("model.int8.onnx"),
        make_timing("model.onnx", device="qemu-arm64"),
    ]

    table = timings_markdown(timings).splitlines()

    assert len(table) == 2 + len(timings)
    assert len({columns(line) for line in table}) == 1
    assert "this machine (Example CPU at 2.4 GHz)" in table[2]
    assert "of dense/model.onnx, 8 blocks" in table[3]
    assert "not a speed: emulated" in table[4]
    assert "0.212" not in table[4]


def test_the_markdown_is_the_same_each_time(contents: Contents) -> None:
    evidence = contents.shipped.evidence["model.onnx"]

    assert evidence_markdown(evidence) == evidence_markdown(evidence)


def test_several_files_begin_with_their_verdicts_and_differences(audits: "Audits") -> None:
    text = audits_markdown(audits.evidence, audits.comparisons)

    assert text.startswith("# Audit of 2 files\n")
    assert text.index("## Differences") < text.index("# Audit of model.onnx")
    for part in tables(text):
        assert len({columns(line) for line in part}) == 1


def test_one_file_has_no_differences(audits: "Audits") -> None:
    assert "## Differences" not in audits_markdown(audits.evidence[:1], [])


def test_the_new_evidence_is_there(audits: "Audits") -> None:
    one = audits.evidence[0]
    noted = one.model_copy(update={"notes": ["the references are of another architecture"]})
    worst = one.worst
    assert worst.own_cut is not None
    assert worst.hardest is not None

    text = evidence_markdown(noted)

    assert "- **Note.** the references are of another architecture" in text
    assert f"{worst.own_cut.advantage:.3f} [" in text
    assert f"AUC {worst.hardest.auc:.3f} [" in text
    assert f"| {worst.exposed[0].index:,} | {worst.exposed[0].label} |" in text
    assert "## With other numbers of reference models" in text
    assert "differentially private for any ε below" in text
    for name in ("A/A", "References"):
        assert f"- **{name}**: " in text


def test_less_than_is_no_tag_and_stays_as_it_is(audits: "Audits") -> None:
    assert "p < 0.001" in audits_markdown(audits.evidence, audits.comparisons)
