"""`safedeploy targets`: what a run can be exported for."""

from safedeploy.cli import options as o


def targets(json: o.JsonOption = False) -> None:
    """List the deployment targets."""
    from safedeploy.cli.show import print_json, table
    from safedeploy.export.targets import list_targets

    listed = list_targets()
    if json:
        print_json([target.model_dump(mode="json") for target in listed])
    else:
        rows = [[target.name, ", ".join(target.files), str(target.opset), target.description] for target in listed]
        table("Targets", ["name", "files", "opset", "for"], rows)
