"""Fill tables and plots of studies into a page."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from . import decisions, plots, tables
from .frames import load_runs
from .schema import NUMBER, TEXT, WHOLE, Kind, StudyError, check, expect, one_of

_START = '<!-- study:'
_BLOCK = re.compile(r'<!-- study:(?P<settings>.*?)-->\n(?P<content>.*?)<!-- end -->', re.DOTALL)
#: Settings that choose runs, and the columns they choose by.
_FILTERS = {'methods': 'method', 'arms': 'arm', 'epochs': 'epochs', 'seeds': 'seed'}
_RUNS = {
    'lines': [TEXT],
    'methods?': [TEXT],
    'arms?': [TEXT],
    'epochs?': [WHOLE],
    'seeds?': [WHOLE],
}
_TIMES = {'times?': Kind(lambda value: isinstance(value, bool), 'true or false')}
_PAIR = {'arm': TEXT, 'minus': TEXT, 'epochs?': WHOLE, 'minus_epochs?': WHOLE}
_PAIR |= {'since?': WHOLE, 'methods?': [TEXT]}
_QUANTITY = {'quantity?': one_of(sorted(tables.SELECTED_QUANTITIES))}
_OUTCOME = one_of(list(decisions.OUTCOMES))
_POINTS = Kind(lambda value: NUMBER.fits(value) and value > 0, 'a positive number')
_FILE = Kind(
    lambda value: isinstance(value, str) and value.endswith('.svg'),
    'where the plot goes, a name ending in .svg',
)
#: Functions of tables and plots by their names, and their settings in a block.
_KINDS = {
    'table': {
        'accuracy': (tables.accuracy_table, _TIMES),
        'differences': (tables.differences_table, {**_TIMES, 'pairs': [_PAIR]}),
        'decisions': (decisions.decisions_table, {'pairs': [_PAIR], 'outcome?': _OUTCOME}),
        'power': (decisions.power_table, {'pairs': [_PAIR], 'points?': _POINTS}),
        'tuning': (tables.tuning_table, {}),
        'selection': (tables.selection_table, _QUANTITY),
        'provenance': (tables.provenance_table, {}),
    },
    'plot': {
        'accuracy_over_epochs': (plots.draw_accuracy_over_epochs, {}),
        'accuracy_over_time': (plots.draw_accuracy_over_time, {}),
        'iou_over_epochs': (plots.draw_iou_over_epochs, {}),
        'information_over_epochs': (plots.draw_information_over_epochs, {}),
        'accuracy_over_hardness': (plots.draw_accuracy_over_hardness, {}),
    },
}


class Page(NamedTuple):
    """A page with its blocks filled, plots by path, and the blocks and plots that differ."""

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
    page, position = Page('', {}, []), 0
    for number, block in enumerate(blocks, 1):
        line = text.count('\n', 0, block.start()) + 1
        try:
            kind, settings = _parse(block['settings'])
            runs = _filtered(load(*settings['lines']), settings)
            content = _fill(kind, settings, runs, path.parent, page.files)
        except (FileNotFoundError, ValueError) as error:
            raise StudyError(f'{path}, line {line}: {error}') from error
        if content != block['content']:
            page.changed.append(f'block {number} ({settings[kind]}, line {line})')
        page = page._replace(text=page.text + text[position : block.start('content')] + content)
        position = block.end('content')
    for file, content in page.files.items():
        if not file.is_file() or file.read_text(encoding='utf-8') != content:
            page.changed.append(str(file))
    return page._replace(text=page.text + text[position:])


def _parse(text: str) -> tuple[str, dict[str, Any]]:
    """``'table'`` or ``'plot'``, and the checked settings of a block."""
    try:
        settings = json.loads(text)
    except ValueError as error:
        raise StudyError(f'a block is no JSON ({error}).') from error
    kinds = [kind for kind in _KINDS if isinstance(settings, dict) and kind in settings]
    choices = ' or '.join(f'{{"{kind}": one of {list(names)}}}' for kind, names in _KINDS.items())
    expect(len(kinds) == 1, f'a block needs {choices}, and "lines".')
    kind = kinds[0]
    check(kind, settings[kind], one_of(_KINDS[kind]))
    if isinstance(settings.get('lines'), str):
        settings['lines'] = [settings['lines']]
    plot = {'file': _FILE, 'alt?': TEXT} if kind == 'plot' else {}
    check('', settings, {kind: TEXT, **_RUNS, **_KINDS[kind][settings[kind]][1], **plot})
    return kind, settings


def _filtered(runs: pd.DataFrame, settings: dict[str, Any]) -> pd.DataFrame:
    """The runs of a block, with methods and arms as categories in its order."""
    for key in [key for key in _FILTERS if key in settings]:
        column, order = runs[_FILTERS[key]], settings[key]
        for wanted in order:
            expect((column == wanted).any(), f'{key}: there are no runs of {wanted!r}.')
        places = column[column.isin(order)].map(order.index)
        runs = runs.loc[places.sort_values(kind='stable').index]
    expect(len(runs), f'lines={settings["lines"]}: there are no results yet.')
    orders = {name: pd.Categorical(runs[name], runs[name].unique()) for name in ('method', 'arm')}
    return runs.assign(**orders)


def _fill(
    kind: str, settings: dict[str, Any], runs: pd.DataFrame, folder: Path, files: dict[Path, str]
) -> str:
    """The content of a block; a plot goes to ``files``."""
    function, own = _KINDS[kind][settings[kind]]
    options = {key.removesuffix('?') for key in own} & settings.keys()
    filled = function(runs, **{name: settings[name] for name in options})
    if kind == 'table':
        return f'\n{filled}\n'
    name, alt = settings['file'], settings.get('alt', settings[kind].replace('_', ' '))
    is_free = folder / name not in files
    expect(is_free, f'file={name!r} is that of a plot above: choose another name.')
    files[folder / name] = filled
    return f'\n![{alt}]({name})\n\n'
