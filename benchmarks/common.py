"""What every benchmark script shares: the options it takes, the table it prints, the JSON it writes."""

import argparse
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def parser(description: str) -> argparse.ArgumentParser:
    """`--json FILE` and `--data-root DIR`, as every script here takes them."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    options.add_argument("--json", type=Path, help="write the rows to this file too")
    options.add_argument("--data-root", help="folder with the built-in data sets' files")
    return options


def report(rows: Sequence[dict[str, Any]], file: Path | None) -> None:
    """Print the rows as a Markdown table and write them to `file`, with the machine they were measured on."""
    columns = list(rows[0])
    print("| " + " | ".join(columns) + " |")
    print("|" + " --- |" * len(columns))
    for row in rows:
        print("| " + " | ".join(_text(row[column]) for column in columns) + " |")
    if file is not None:
        file.write_text(json.dumps({"machine": machine(), "rows": list(rows)}, indent=2) + "\n", encoding="utf-8")


def machine() -> dict[str, str]:
    import torch

    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch threads": str(torch.get_num_threads()),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
    }


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
