"""The comparison of runs: one row per run, for the terminal, as Markdown and as CSV."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from ..utils.printable import printable
from .run import Run
from .run_config import FINE_TUNING, LINEAR, PRETRAINING

_MISSING = '-'
#: Columns of text, which come first; the others are numbers.
_TEXT = ('run', 'method', 'selection', 'backbone')


#: The compared values of a run by the columns of the CSV; None where unknown.
Row = dict[str, Any]


def make_rows(runs: Sequence[Run], k: int) -> tuple[list[Row], list[str]]:
    """Put runs into rows, with the k-NN accuracy for ``k`` neighbors.

    A linear evaluation joins the row of the run whose checkpoint it starts from, if that is given,
    too, and has no second evaluation.

    Returns:
        The rows in the order of the runs, and notes to print with them, one sentence each.
    """
    notes = [note for run in runs for note in run.notes]
    sources = {run.path: run.name for run in runs if run.config.kind == PRETRAINING}
    evaluations: dict[str, list[Run]] = {name: [] for name in sources.values()}
    for run in runs:
        checkpoint = run.config.checkpoint
        if run.config.kind == LINEAR and checkpoint and '://' not in checkpoint:
            folder = Path(checkpoint).expanduser().resolve().parent
            name = sources.get(folder)
            if name is not None:
                evaluations[name].append(run)
    notes += [
        f'{name}: it has {len(found)} linear evaluations, each in a row of its own.'
        for name, found in evaluations.items()
        if len(found) > 1
    ]
    attached = {name: found[0] for name, found in evaluations.items() if len(found) == 1}
    hidden = {run.name for run in attached.values()}
    shown = [run for run in runs if run.name not in hidden]
    for run in shown:
        if run.knn and not run.knn.get(k):
            others = ', '.join(map(str, sorted(run.knn)))
            notes.append(
                f'{run.name}: its k-NN accuracy was measured with k = {others}, not {k}: see --k.'
            )
    return [_make_row(run, attached.get(run.name), k) for run in shown], notes


def _make_row(run: Run, evaluation: Run | None, k: int) -> Row:
    curve = run.knn.get(k, {})
    epoch = max(curve, default=None)
    is_linear = evaluation is not None or run.config.kind == LINEAR
    accuracies = list((evaluation or run).accuracies().values())
    last, best = (accuracies[-1], max(accuracies)) if accuracies else (None, None)
    return {
        'run': run.name,
        'path': printable(run.path),
        **{name: getattr(run.config, name) for name in _TEXT[1:]},
        'done': run.done,
        'planned': run.config.planned,
        'unit': 'epochs' if run.config.by_epoch else 'iterations',
        'knn_k': k,
        # Accuracies are top-1, in percent; that of k-NN after the last epoch it was measured.
        'knn_top1': None if epoch is None else curve[epoch],
        'knn_epoch': epoch,
        'linear_top1': last if is_linear else None,
        'linear_top1_best': best if is_linear else None,
        # Where the linear evaluation is a run of its own.
        'linear_run': evaluation.name if evaluation else None,
        'fine_tuned_top1': last if run.config.kind == FINE_TUNING else None,
        'seconds_per_step': run.seconds_per_step,
        'memory_mib': run.memory,
        'loss': run.loss,
    }


def terminal_table(rows: Sequence[Row]) -> Table:
    """The comparison for ``rich``."""
    header, *lines = table_cells(rows)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for title in header:
        if title in _TEXT:
            table.add_column(title, overflow='fold')
        else:
            # Ten columns: numbers stay whole where the terminal is narrow.
            table.add_column(title.replace(' ', '\n'), justify='right', no_wrap=True)
    for line in lines:
        # Text is no markup, whatever a run is called.
        table.add_row(*map(Text, line))
    return table


def markdown_rows(cells: Sequence[Sequence[str]], text: int) -> str:
    """A table of Markdown from its header and lines; the first ``text`` columns are no numbers."""
    # Characters that begin HTML, a link, code or emphasis, or end a cell.
    header, *lines = [[re.sub(r'([\\|<[`*])', r'\\\1', cell) for cell in line] for line in cells]
    marks = ['---' if column < text else '---:' for column in range(len(header))]
    return ''.join(f'| {" | ".join(line)} |\n' for line in (header, marks, *lines))


def markdown_table(rows: Sequence[Row]) -> str:
    """The comparison as a table of Markdown."""
    return markdown_rows(table_cells(rows), len(_TEXT))


def csv_table(rows: Sequence[Row]) -> str:
    """The comparison as CSV: numbers in full precision, empty where they are missing."""
    text = StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def table_cells(rows: Sequence[Row]) -> list[list[str]]:
    """Header and lines of a table to look at; the first four columns are text."""
    lines = [_cells(row) for row in rows]
    if all(row['fine_tuned_top1'] is None for row in rows):
        for line in lines:
            del line['fine-tuned top-1']
    return [list(lines[0]), *(list(line.values()) for line in lines)]


def _cells(row: Row) -> dict[str, str]:
    linear, best = _number(row['linear_top1'], '.2f'), _number(row['linear_top1_best'], '.2f')
    progress = f'{_number(row["done"], "d")}/{_number(row["planned"], "d")}'
    return {
        **{name: row[name] or _MISSING for name in _TEXT},
        'epochs': progress if row['unit'] == 'epochs' else f'{progress} iterations',
        f'k-NN top-1 k={row["knn_k"]}': _number(row['knn_top1'], '.2f'),
        'linear top-1': linear if best == linear else f'{linear} (best {best})',
        'fine-tuned top-1': _number(row['fine_tuned_top1'], '.2f'),
        's/step': _number(row['seconds_per_step'], '.3f'),
        'memory MiB': _number(row['memory_mib'], '.0f'),
        'loss': _number(row['loss'], '.4f'),
    }


def _number(value: float | None, form: str) -> str:
    return _MISSING if value is None else format(value, form)
