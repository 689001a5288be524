"""The page of a check, as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil
from typing import Any

_Row = dict[str, Any]


def write_page(content: dict[str, Any]) -> str:
    """The page about the rows that the JSON file holds."""
    rows = content['parts']
    machine = next((row['result'] for row in rows if row['kind'] == 'machine'), None) or {}
    where = machine.get('device', content['device'])
    tiny = (
        'Tiny mode, with the networks and images of the demos: its numbers say nothing about full '
        'size.\n\n'
        if content['tiny']
        else ''
    )
    sections = [
        f'# GPU check: {where}\n\n{tiny}Measured in {content["seconds"]:.0f} s by '
        f'`tools/benchmarks/gpu_check.py`.\n',
        _table(('', ''), [(name, str(value)) for name, value in machine.items()]),
        *_section('Steps', _STEPS, rows, 'step', _step),
        *_section('Checks', ('', 'passed', 'numbers'), rows, tuple(_CHECKS), _check),
        *_section('Photometry', _PHOTOMETRY, rows, 'photometry', lambda row: _places(row, rows)),
        *_missing(rows),
    ]
    return '\n'.join(section for section in sections if section)


_STEPS = (
    '', 'precision', 'batch', 'images/s, plain', 'images/s, hard views', 'step ratio', 'floor',
    'pair loss, pick, gather', 'GiB, plain', 'GiB, hard views', 'no larger batch',
)  # fmt: skip


def _step(row: _Row) -> tuple[str, ...]:
    result = row['result']
    ratio, rates = result['ratio'], result['images_per_second']
    floor, choosing = result.get('measured_floor'), result.get('selecting')
    return (
        row['name'],
        result['dtype'],
        str(result['batch_size']),
        f'{rates["vanilla"]:.0f}',
        f'{rates["hvs"]:.0f}',
        f'{ratio["median"]:.2f} [{ratio["low"]:.2f}, {ratio["high"]:.2f}]',
        '' if floor is None else f'{floor["median"]:.2f}',
        '' if choosing is None else f'{choosing["median"]:.1%}',
        *(f'{result[f"{step}_memory"] / 2**30:.1f}' for step in ('vanilla', 'hvs')),
        result['batch_ends'],
    )


#: By kind: the numbers of a check in words.
_CHECKS: dict[str, Callable[[_Row], str]] = {
    'no waiting': lambda of: (
        f'plain step waits: {of["vanilla"] or "no"}; with hard views: '
        f'{of["hvs"] or "no"} ({of["dtype"]})'
    ),
    'same selection': lambda of: (
        f'{of["same"]:.0%} of images keep the same views; worst choice '
        f'{of["missed"]:.1g} of the range below the hardest; pair losses off by '
        f'{of["difference"]:.1g}'
    ),
    'loss scaling': lambda of: (
        f'{of["skipped"]} of {of["steps"]} steps skipped, scale '
        f'{of["scale"]:g}, {of["nonfinite"]:.0%} of scores not finite'
    ),
    'resuming': lambda of: (
        f'weights differ by {of["difference"]:.1g} after {of["steps"]} steps, '
        f'those of whole runs by {of["noise"]:.1g}'
    ),
}


def _check(row: _Row) -> tuple[str, ...]:
    passed = 'yes' if row['status'] == 'measured' else 'no'
    return row['name'], passed, _CHECKS[row['kind']](row['result'])


_PHOTOMETRY = (
    '', 'loader, ms', 'preprocessor, ms', 'loader with photometry on the device, ms',
    'preprocessor, ms', 'cores for the eager step: loader', 'device',
)  # fmt: skip


def _places(row: _Row, rows: Sequence[_Row]) -> tuple[str, ...]:
    result = row['result']
    eager = [
        one['result']['images_per_second']['hvs']
        for one in rows
        if one['name'] == f'{result["method"]}: eager' and one['status'] == 'measured'
    ]
    places = [result[place] for place in ('loader', 'device')]
    return (
        row['name'],
        *(f'{place[stage]:.1f}' for place in places for stage in ('loading', 'preparing')),
        *(str(ceil(eager[0] * place['loading'] / 1e3)) if eager else '' for place in places),
    )


def _section(
    title: str,
    header: Sequence[str],
    rows: Sequence[_Row],
    kinds: str | tuple[str, ...],
    cells: Callable[[_Row], Sequence[str]],
) -> list[str]:
    kinds = (kinds,) if isinstance(kinds, str) else kinds
    # A check that fails has numbers, too.
    found = [row for row in rows if row['kind'] in kinds and row['result'] is not None]
    return [f'## {title}\n', _table(header, [cells(row) for row in found])] if found else []


def _missing(rows: Sequence[_Row]) -> list[str]:
    found = [row for row in rows if row['status'] != 'measured']
    if not found:
        return []
    cells = [(row['name'], row['status'], row['reason']) for row in found]
    return ['## Failed, not run or left out\n', _table(('', '', 'reason'), cells)]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    # A bar in a cell would end it.
    lines = [header, ['---'] * len(header), *rows]
    texts = (' | '.join(cell.replace('|', '\\|') for cell in line) for line in lines)
    return ''.join(f'| {text} |\n' for text in texts) if rows else ''
