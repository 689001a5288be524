"""Fill tables and plots of studies into a page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from . import plots, tables
from .errors import StudyError, check, expect
from .frames import load_runs

_START = '<!-- study:'
_BLOCK = re.compile(r'<!-- study:(?P<settings>.*?)-->\n(?P<content>.*?)<!-- end -->', re.DOTALL)
_NAMES = {
    'table': ['accuracy', 'differences', 'provenance', 'selection', 'tuning'],
    'plot': ['accuracy_over_epochs', 'accuracy_over_time', 'iou_over_epochs'],
}
#: Settings that choose runs, and the columns they choose by.
_FILTERS = {'methods': 'method', 'arms': 'arm', 'epochs': 'epochs', 'seeds': 'seed'}


class Page(NamedTuple):
    """A page with its blocks filled.

    Attributes:
        text: Text of the page.
        files: Texts of the plots by path.
        changed: What differs from the files: blocks by number, kind and line, and paths of plots.
    """

    text: str
    files: dict[Path, str]
    changed: list[str]


def fill_page(path: str | Path) -> Page:
    """Fill the blocks of a page of Markdown; nothing is written.

    Raises:
        StudyError: If a block cannot be filled, with the page, its line, and why.
        FileNotFoundError: If there is no such page.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'page {str(path)!r} does not exist.')
    text = path.read_text(encoding='utf-8')
    blocks = list(_BLOCK.finditer(text))
    expect(
        len(blocks) == text.count(_START) and not any(_START in b['content'] for b in blocks),
        f'{path}: every {_START} ... --> must stand on lines of its own and be followed by '
        '<!-- end -->.',
    )
    expect(blocks, f'{path} has no block {_START} {{...}} -->; docs/studies.md shows some.')
    # Many blocks show the same lines.
    load = cache(lambda *names: load_runs(path.parent / name for name in names))
    files: dict[Path, str] = {}
    changed: list[str] = []
    filled, position = '', 0
    for number, block in enumerate(blocks, 1):
        line = text.count('\n', 0, block.start()) + 1
        try:
            kind, settings = _parse(block['settings'])
            runs = _filtered(load(*settings['lines']), settings)
            content = _fill(kind, settings, runs, path.parent, files)
        except (FileNotFoundError, ValueError) as error:
            raise StudyError(f'{path}, line {line}: {error}') from error
        if content != block['content']:
            changed.append(f'block {number} ({settings[kind]}, line {line})')
        filled += text[position : block.start('content')] + content
        position = block.end('content')
    for file, content in files.items():
        if not file.is_file() or file.read_text(encoding='utf-8') != content:
            changed.append(str(file))
    return Page(filled + text[position:], files, changed)


def _function(kind: str, name: str) -> Callable[..., str]:
    return getattr(tables, f'{name}_table') if kind == 'table' else getattr(plots, f'draw_{name}')


def _fill(
    kind: str, settings: dict[str, Any], runs: pd.DataFrame, folder: Path, files: dict[Path, str]
) -> str:
    function = _function(kind, settings[kind])
    options = signature(function).parameters.keys() & settings.keys()
    filled = function(runs, **{name: settings[name] for name in options})
    if kind == 'table':
        return f'\n{filled}\n'
    name, alt = settings['file'], settings.get('alt', settings[kind].replace('_', ' '))
    is_free = folder / name not in files
    expect(is_free, f'file={name!r} is that of a plot above: choose another name.')
    files[folder / name] = filled
    return f'\n![{alt}]({name})\n\n'


def _filtered(runs: pd.DataFrame, settings: dict[str, Any]) -> pd.DataFrame:
    for key in [key for key in _FILTERS if key in settings]:
        column, order = runs[_FILTERS[key]], settings[key]
        for wanted in order:
            expect((column == wanted).any(), f'{key}: there are no runs of {wanted!r}.')
        # In the order of the block.
        places = column[column.isin(order)].map(order.index)
        runs = runs.loc[places.sort_values(kind='stable').index]
    expect(len(runs), f'lines={settings["lines"]}: there are no results yet.')
    return runs


def _parse(text: str) -> tuple[str, dict[str, Any]]:
    """``'table'`` or ``'plot'``, and the checked settings of a block."""
    try:
        settings = json.loads(text)
    except ValueError as error:
        raise StudyError(f'a block is no JSON ({error}).') from error
    kinds = [kind for kind in _NAMES if isinstance(settings, dict) and kind in settings]
    one_of = ' or '.join(f'{{"{kind}": one of {names}}}' for kind, names in _NAMES.items())
    expect(len(kinds) == 1, f'a block needs {one_of}, and "lines".')
    kind = kinds[0]
    name = settings[kind]
    check(kind, name, name in _NAMES[kind], f'one of {_NAMES[kind]}')
    own = [*signature(_function(kind, name)).parameters][1:]
    required = {'lines', *({'file'} if kind == 'plot' else {'pairs'} & {*own})}
    known = sorted({kind, *required, *own, *_FILTERS, *(['alt'] if kind == 'plot' else [])})
    for key in settings:
        unknown = f'{kind} {name!r} has no setting {key!r}, expected some of {known}.'
        expect(key in known, unknown)
    lines = settings.get('lines')
    settings['lines'] = [lines] if isinstance(lines, str) else lines
    for key in sorted(required | settings.keys() - {kind}):
        fits, expected = _VALUES[key]
        check(key, settings.get(key), fits(settings.get(key)), expected)
    return kind, settings


def _is(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kind)


def _are(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(isinstance(item, kind) for item in value)


def _one_of(*choices: str) -> tuple[Callable[[Any], bool], str]:
    return lambda value: value in choices, f'one of {sorted(choices)}'


_PAIR = {'arm': _is(str), 'minus': _is(str), 'epochs': _is(int), 'minus_epochs': _is(int)}
_PAIR |= {'since': _is(int), 'methods': _are(str)}


def _are_pairs(value: Any) -> bool:
    if not value or not _are(dict)(value) or not all(pair.keys() <= _PAIR.keys() for pair in value):
        return False
    are_fit = all(_PAIR[key](item) for pair in value for key, item in pair.items())
    return are_fit and all({'arm', 'minus'} <= pair.keys() for pair in value)


_VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    'lines': (lambda value: bool(value) and _are(str)(value), 'a file of results, or a list'),
    **dict.fromkeys(('methods', 'arms'), (_are(str), 'a list of str')),
    **dict.fromkeys(('epochs', 'seeds'), (_are(int), 'a list of int')),
    **dict.fromkeys(('alt', 'command', 'relative_to'), (_is(str), 'a text')),
    'clock': _one_of('cpu', 'wall'),
    'quantity': _one_of(*tables.SELECTED_QUANTITIES),
    'times': (_is(bool), 'true or false'),
    'file': (
        lambda value: isinstance(value, str) and value.endswith('.svg'),
        'where the plot goes, a name ending in .svg',
    ),
    'pairs': (
        _are_pairs,
        'a list of {"arm": ..., "minus": ...}, with "epochs" and "minus_epochs" where there are '
        'several lengths, "since" an epoch, and a list of "methods" if it is not of all',
    ),
}
