"""The table of the comparison: for the terminal, as Markdown, as CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from ..utils.printable import printable
from .rows import Row

_MISSING = '-'
#: Columns of text, on the left; the others are numbers.
_TEXT = ('run', 'method', 'selection', 'backbone')


def terminal_table(rows: Sequence[Row], k: int) -> Table:
    """The comparison for ``rich``.

    Args:
        rows: One per run.
        k: Neighbors of the k-NN accuracy, for its title.
    """
    header, *lines = table_cells(rows, k)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for title in header:
        if title in _TEXT:
            table.add_column(title, overflow='fold')
        else:
            # Ten columns: numbers stay whole where the terminal is narrow.
            table.add_column(title.replace(' ', '\n'), justify='right', no_wrap=True)
    for line in lines:
        # Not markup, whatever a run is called.
        table.add_row(*map(Text, line))
    return table


def markdown_table(rows: Sequence[Row], k: int) -> str:
    """The comparison as a table of Markdown, arguments as above."""
    cells = table_cells(rows, k)
    return markdown_rows(cells, sum(title in _TEXT for title in cells[0]))


def markdown_rows(cells: Sequence[Sequence[str]], text: int) -> str:
    """A table of Markdown.

    Args:
        cells: Its header, then its lines.
        text: How many columns are text, on the left; the others are numbers.
    """
    header, *lines = cells
    marks = ['---' if column < text else '---:' for column in range(len(header))]
    return ''.join(f'| {" | ".join(map(_escape, line))} |\n' for line in (header, marks, *lines))


def _escape(cell: str) -> str:
    # What begins HTML, a link, code or emphasis, and what ends a cell.
    return ''.join(f'\\{mark}' if mark in r'\|<[`*' else mark for mark in cell)


def csv_table(rows: Sequence[Row], k: int) -> str:
    """The comparison as CSV: numbers in full precision, empty where they are missing.

    Args:
        rows: One per run.
        k: Neighbors of the k-NN accuracy, a column by itself.
    """
    text = StringIO()
    records = [_record(row, k) for row in rows]
    writer = csv.DictWriter(text, list(records[0]), lineterminator='\n')
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def _record(row: Row, k: int) -> dict[str, Any]:
    run = row.run
    return {
        'run': run.name,
        'path': printable(run.path),
        'method': run.config.method,
        'selection': run.config.selection,
        'backbone': run.config.backbone,
        'done': run.done,
        'planned': run.config.planned,
        'unit': 'epochs' if run.config.by_epoch else 'iterations',
        'knn_k': k,
        'knn_top1': row.knn,
        'knn_epoch': row.knn_epoch,
        'linear_top1': row.linear,
        'linear_top1_best': row.best_linear,
        'linear_run': row.linear_run,
        'fine_tuned_top1': row.fine_tuned,
        'seconds_per_step': run.seconds_per_step,
        'memory_mib': run.memory,
        'loss': run.loss,
    }


def table_cells(rows: Sequence[Row], k: int) -> list[list[str]]:
    """Header and lines of a table to look at; the first four columns are text."""
    columns = {
        'run': [row.run.name for row in rows],
        'method': [_text(row.run.config.method) for row in rows],
        'selection': [_text(row.run.config.selection) for row in rows],
        'backbone': [_text(row.run.config.backbone) for row in rows],
        'epochs': [_progress(row) for row in rows],
        f'k-NN top-1 k={k}': [_number(row.knn, '.2f') for row in rows],
        'linear top-1': [_linear(row) for row in rows],
        'fine-tuned top-1': [_number(row.fine_tuned, '.2f') for row in rows],
        's/step': [_number(row.run.seconds_per_step, '.3f') for row in rows],
        'memory MiB': [_number(row.run.memory, '.0f') for row in rows],
        'loss': [_number(row.run.loss, '.4f') for row in rows],
    }
    if all(row.fine_tuned is None for row in rows):
        del columns['fine-tuned top-1']
    return [list(columns), *(list(line) for line in zip(*columns.values()))]


def _text(value: str | None) -> str:
    return value or _MISSING


def _number(value: float | None, form: str) -> str:
    return _MISSING if value is None else format(value, form)


def _progress(row: Row) -> str:
    run = row.run
    text = f'{_number(run.done, "d")}/{_number(run.config.planned, "d")}'
    return text if run.config.by_epoch else f'{text} iterations'


def _linear(row: Row) -> str:
    text = _number(row.linear, '.2f')
    best = _number(row.best_linear, '.2f')
    return text if best == text else f'{text} (best {best})'
