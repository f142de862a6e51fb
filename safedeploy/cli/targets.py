"""`safedeploy targets`: what a run can be exported for."""


def targets() -> None:
    """List the deployment targets."""
    from safedeploy.cli.show import table
    from safedeploy.export.targets import list_targets

    rows = [[target.name, ", ".join(target.files), str(target.opset), target.description] for target in list_targets()]
    table("Targets", ["name", "files", "opset", "for"], rows)
