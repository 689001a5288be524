"""The tools of the project, imported: they lie in no package."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]


@cache
def load_tool(tool: str | Path) -> ModuleType:
    """Import a tool, or a module beside it, once: some register classes.

    Args:
        tool: Its name below ``tools/``, ``'analysis/selection_report'``, or its path.
    """
    path = ROOT / 'tools' / f'{tool}.py' if isinstance(tool, str) else tool
    # As Python does when it starts a script, though last: tools have names like `test`.
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    if path.stem.startswith('_'):
        # The very module that the tools import.
        return importlib.import_module(path.stem)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
