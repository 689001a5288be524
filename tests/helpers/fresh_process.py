"""The package in a Python process of its own, which takes seconds to start: once for all tests."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

_CODE = """
import hashlib, json, sys
from hvs_mm.datasets import ShapesDataset
packages = sorted({name.partition('.')[0] for name in sys.modules})
images = ShapesDataset(split='train', num_samples=24)
digests = [hashlib.sha256(sample['img'].tobytes()).hexdigest() for sample in images]
print(json.dumps({'packages': packages, 'digests': digests}))
"""


@cache
def fresh_process() -> dict[str, Any]:
    """Packages imported with ours, and digests of the first images of ``ShapesDataset``."""
    result = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', _CODE],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(result.stdout.splitlines()[-1])
