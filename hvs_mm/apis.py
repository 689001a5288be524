"""Configs of the installed package by name."""

from __future__ import annotations

from pathlib import Path

from mmengine import hub
from mmengine.config import Config

_PREFIX = 'hvs_mm::'


def get_config(name: str) -> Config:
    """Load a config that came with the package, wherever it is installed.

    MMEngine's own ``get_config`` (0.10.7 and 0.10.12) knows a fixed list of packages and wants a
    folder in the name; names of other packages are handed on to it.

    Args:
        name: E.g. ``'hvs_mm::hvs_simsiam_100e.py'`` or ``'hvs_mm::demo/hvs_simsiam.py'``.

    Raises:
        FileNotFoundError: If there is no such config.

    Examples:
        >>> cfg = get_config('hvs_mm::hvs_simsiam_100e.py')
    """
    if not name.startswith(_PREFIX):
        return hub.get_config(name)
    folder = Path(__file__).parent / '.mim' / 'configs'
    if not folder.is_dir():
        raise FileNotFoundError(
            f'{folder} does not exist: install the package with "pip install ." or "pip install '
            '-e .", or load the file from the checkout with Config.fromfile.'
        )
    path = folder / name[len(_PREFIX) :]
    if not path.is_file():
        known = sorted(str(p.relative_to(folder)) for p in folder.rglob('*.py'))
        raise FileNotFoundError(f'{name!r} is not among the configs of hvs_mm: {known}.')
    return Config.fromfile(path)
