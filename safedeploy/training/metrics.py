"""`metrics.jsonl`: one line an epoch or an event, cut back on resume to what the checkpoint knows."""

import json
from pathlib import Path
from typing import Any


class MetricsLog:
    def __init__(self, path: Path, *, keep_bytes: int = 0) -> None:
        """Continue `path` after its first `keep_bytes` bytes, or as many as it has; 0 starts it anew."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = path.open("r+b" if path.exists() else "w+b")
        self._handle.truncate(min(keep_bytes, self._handle.seek(0, 2)))
        self._handle.seek(0, 2)

    def __call__(self, event: dict[str, Any]) -> None:
        self._handle.write(json.dumps(event, allow_nan=False).encode() + b"\n")
        self._handle.flush()

    @property
    def position(self) -> int:
        return self._handle.tell()

    def close(self) -> None:
        self._handle.close()
