"""`safedeploy data`: the built-in data sets, and which are here."""

from safedeploy.cli import options as o


def data(data_root: o.DataRootOption = None, json: o.JsonOption = False) -> None:
    """List the built-in data sets and whether their files are found."""
    from dataclasses import asdict

    from safedeploy.cli.show import print_json, table
    from safedeploy.data.load import list_datasets
    from safedeploy.data.root import data_root as root_of

    listed = list_datasets(root_of(data_root))
    if json:
        print_json([asdict(one) for one in listed])
    else:
        rows = [[one.name, "yes" if one.found else "no", one.where] for one in listed]
        table("Data sets", ["name", "found", "where"], rows)
