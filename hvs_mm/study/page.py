"""Fill tables and plots of studies into a page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .plots import draw_accuracy_over_epochs, draw_accuracy_over_time, draw_iou_over_epochs
from .results import Result, load_results
from .tables import (
    SELECTED_QUANTITIES,
    BlockError,
    accuracy_table,
    differences_table,
    provenance_table,
    selection_table,
    tuning_table,
)

_START = '<!-- study:'
_BLOCK = re.compile(r'<!-- study:(?P<settings>.*?)-->\n(?P<content>.*?)<!-- end -->', re.DOTALL)

_TABLES: dict[str, tuple[Callable[..., str], set[str]]] = {
    'accuracy': (accuracy_table, {'relative_to', 'times'}),
    'differences': (differences_table, {'pairs', 'times'}),
    'tuning': (tuning_table, set()),
    'selection': (selection_table, {'quantity'}),
    'provenance': (provenance_table, {'command'}),
}
_PLOTS: dict[str, tuple[Callable[..., str], set[str]]] = {
    'accuracy_over_epochs': (draw_accuracy_over_epochs, set()),
    'accuracy_over_time': (draw_accuracy_over_time, {'clock'}),
    'iou_over_epochs': (draw_iou_over_epochs, set()),
}
_FILTERS = ('methods', 'arms', 'epochs', 'seeds')


@dataclass
class Page:
    """A page with its blocks filled.

    Attributes:
        text: Of the page.
        files: Texts of the plots by path.
        changed: What differs from what is there: blocks by number, kind and line, and files.
    """

    text: str
    files: dict[Path, str] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)


def fill_page(path: str | Path) -> Page:
    """Make the blocks of a page anew; nothing is written.

    Args:
        path: Of the page, in Markdown.

    Raises:
        BlockError: If a block cannot be filled, with the page, its line, and why.
        FileNotFoundError: If there is no such page.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'page {str(path)!r} does not exist.')
    text = path.read_text(encoding='utf-8')
    blocks = list(_BLOCK.finditer(text))
    if len(blocks) != text.count(_START) or any(_START in b['content'] for b in blocks):
        raise BlockError(
            f'{path}: every {_START} ... --> must stand on lines of its own and be followed by '
            '<!-- end -->.'
        )
    if not blocks:
        raise BlockError(f'{path} has no block {_START} {{...}} -->; docs/studies.md shows some.')
    page = Page('')
    position = 0
    for number, block in enumerate(blocks, 1):
        line = text.count('\n', 0, block.start()) + 1
        try:
            settings = _parse(block['settings'])
            content = _fill(settings, path.parent, page)
        except (FileNotFoundError, ValueError) as error:
            raise BlockError(f'{path}, line {line}: {error}') from error
        if content != block['content']:
            page.changed.append(f'block {number} ({_kind(settings)}, line {line})')
        page.text += text[position : block.start('content')] + content
        position = block.end('content')
    page.text += text[position:]
    for file, content in page.files.items():
        if not file.is_file() or file.read_text(encoding='utf-8') != content:
            page.changed.append(str(file))
    return page


def _parse(text: str) -> dict[str, Any]:
    try:
        settings = json.loads(text)
    except ValueError as error:
        raise BlockError(f'a block is no JSON ({error}).') from error
    if not isinstance(settings, dict) or ('table' in settings) == ('plot' in settings):
        raise BlockError(
            f'a block needs {{"table": one of {sorted(_TABLES)}}} or {{"plot": one of '
            f'{sorted(_PLOTS)}}}, and "lines".'
        )
    kinds = _TABLES if 'table' in settings else _PLOTS
    what = 'table' if 'table' in settings else 'plot'
    kind = settings[what]
    if not isinstance(kind, str) or kind not in kinds:
        raise BlockError(f'{what}={kind!r}: expected one of {sorted(kinds)}.')
    known = {what, 'lines', *_FILTERS, *kinds[kind][1]}
    if what == 'plot':
        known |= {'file', 'alt'}
    for key in settings:
        if key not in known:
            raise BlockError(
                f'{what} {kind!r} has no setting {key!r}, expected some of {sorted(known)}.'
            )
    _check_values(settings)
    return settings


def _check_values(settings: dict[str, Any]) -> None:
    lines = settings.get('lines')
    lines = [lines] if isinstance(lines, str) else lines
    if not isinstance(lines, list) or not lines or not all(isinstance(x, str) for x in lines):
        raise BlockError(f'lines={settings.get("lines")!r}: expected a file of results, or a list.')
    settings['lines'] = lines
    for key, kind in zip(_FILTERS, (str, str, int, int)):
        value = settings.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, kind) for item in value):
            raise BlockError(f'{key}={value!r}: expected a list of {kind.__name__}.')
    for key in ('alt', 'command', 'relative_to'):
        if not isinstance(settings.get(key, ''), str):
            raise BlockError(f'{key}={settings[key]!r}: expected a text.')
    if settings.get('clock', 'cpu') not in ('cpu', 'wall'):
        raise BlockError(f"clock={settings['clock']!r}: expected 'cpu' or 'wall'.")
    quantity = settings.get('quantity', 'iou')
    if not isinstance(quantity, str) or quantity not in SELECTED_QUANTITIES:
        raise BlockError(f'quantity={quantity!r}: expected one of {sorted(SELECTED_QUANTITIES)}.')
    if not isinstance(settings.get('times', True), bool):
        raise BlockError(f'times={settings["times"]!r}: expected true or false.')
    if 'plot' in settings:
        file = settings.get('file')
        if not isinstance(file, str) or not file.endswith('.svg'):
            raise BlockError(f'file={file!r}: expected where the plot goes, a name ending in .svg.')
    if settings.get('table') == 'differences':
        pairs = settings.get('pairs')
        if (
            not isinstance(pairs, list)
            or not pairs
            or not all(isinstance(pair, dict) and _is_pair(pair) for pair in pairs)
        ):
            raise BlockError(
                f'pairs={pairs!r}: expected a list of {{"arm": ..., "minus": ...}}, with "epochs" '
                'and "minus_epochs" where there are several lengths, "since" an epoch, and a list '
                'of "methods" if it is not of all.'
            )


def _is_pair(pair: dict[str, Any]) -> bool:
    known = {'arm': str, 'minus': str, 'epochs': int, 'minus_epochs': int, 'since': int}
    names = pair.get('methods', [])
    return (
        {'arm', 'minus'} <= pair.keys() <= known.keys() | {'methods'}
        and all(isinstance(pair[key], kind) for key, kind in known.items() if key in pair)
        and isinstance(names, list)
        and all(isinstance(name, str) for name in names)
    )


def _kind(settings: dict[str, Any]) -> str:
    return settings.get('table') or settings['plot']


def _fill(settings: dict[str, Any], folder: Path, page: Page) -> str:
    results = _filtered(load_results(folder / name for name in settings['lines']), settings)
    if 'table' in settings:
        function, options = _TABLES[settings['table']]
        return f'\n{function(results, **_chosen(settings, options))}\n'
    function, options = _PLOTS[settings['plot']]
    if folder / settings['file'] in page.files:
        raise BlockError(f'file={settings["file"]!r} is that of a plot above: choose another name.')
    page.files[folder / settings['file']] = function(results, **_chosen(settings, options))
    alt = settings.get('alt', settings['plot'].replace('_', ' '))
    return f'\n![{alt}]({settings["file"]})\n\n'


def _chosen(settings: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: settings[name] for name in names if name in settings}


def _filtered(results: list[Result], settings: dict[str, Any]) -> list[Result]:
    for key, name in zip(_FILTERS, ('method', 'arm', 'epochs', 'seed')):
        if key not in settings:
            continue
        for wanted in settings[key]:
            if not any(getattr(result, name) == wanted for result in results):
                raise BlockError(f'{key}: there are no runs of {wanted!r}.')
        order = settings[key]
        results = [result for result in results if getattr(result, name) in order]
        # In the order of the block.
        results.sort(key=lambda result, name=name: order.index(getattr(result, name)))
    if not results:
        raise BlockError(f'lines={settings["lines"]}: there are no results yet.')
    return results
