"""What is told of a stage where standard error is no terminal."""

from safedeploy.cli import progress


def test_a_guess_of_what_is_left_waits_for_a_hundredth(monkeypatch, capsys):
    """60 s for a millionth say nothing of the rest; 120 s for a tenth leave 1080."""
    times = iter([0.0, 0.0, 60.0, 120.0, 200.0])
    monkeypatch.setattr(progress, "monotonic", lambda: next(times))
    with progress.shown() as stages:
        tell = stages("train")
        for fraction in (0.0, 1e-6, 0.1, 1.0):
            tell(fraction)
    assert capsys.readouterr().err.splitlines() == [
        "train …",
        "train: 0%",
        "train: 10%, about 1080 s left",
        "train: done in 200 s",
    ]
