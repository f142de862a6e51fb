"""`safedeploy data`: the built-in data sets, and which are here."""

from safedeploy.cli import options as o


def data(data_root: o.DataRootOption = None) -> None:
    """List the built-in data sets and whether their files are found."""
    from safedeploy.cli.show import table
    from safedeploy.data.load import list_datasets
    from safedeploy.data.root import data_root as root_of

    rows = [
        [listed.name, "yes" if listed.found else "no", listed.where] for listed in list_datasets(root_of(data_root))
    ]
    table("Data sets", ["name", "found", "where"], rows)
