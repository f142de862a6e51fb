"""`safedeploy doctor`: what is installed, which runtimes and delegates answer, free disk, data found."""

from safedeploy.cli import options as o


def doctor(data_root: o.DataRootOption = None, json: o.JsonOption = False) -> None:
    """Check this machine: packages, runtimes, disk, data. Exit 1 when something that is installed does not work."""
    import typer

    from safedeploy.cli.show import print_json, table
    from safedeploy.doctor import examine

    findings = examine(data_root)
    if json:
        print_json([finding.model_dump() for finding in findings])
    else:
        table("safedeploy doctor", ["what", "state", "detail"], [[f.what, f.state, f.detail] for f in findings])
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(1)
