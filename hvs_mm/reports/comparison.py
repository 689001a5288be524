"""The comparison of runs: one row per run, for the terminal, as Markdown and as CSV."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass
class Row:
    """The compared numbers of a run; None if unknown. Accuracies are top-1, in percent.

    Attributes:
        knn: Of the k-NN classifier, after the last epoch it was measured, ``knn_epoch``.
        linear: Of the linear evaluation, in its last validation.
        best_linear: The highest one of its validations.
        linear_run: Name of the linear evaluation, where that is a run of its own.
        fine_tuned: Of a run that trains the whole network on labels.
    """

    run: Run
    knn: float | None = None
    knn_epoch: int | None = None
    linear: float | None = None
    best_linear: float | None = None
    linear_run: str | None = None
    fine_tuned: float | None = None


def make_rows(runs: Sequence[Run], k: int) -> tuple[list[Row], list[str]]:
    """Put runs into rows.

    A linear evaluation joins the row of the run whose checkpoint it starts from, if that is given,
    too, and has no second evaluation.

    Args:
        runs: The runs.
        k: Neighbors of the k-NN accuracy.

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
            evaluations.get(sources.get(folder), []).append(run)
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
    row = Row(run, knn=curve.get(epoch), knn_epoch=epoch)
    if evaluation is not None:
        row.linear_run = evaluation.name
    accuracies = list((evaluation or run).accuracies().values())
    if accuracies and run.config.kind == FINE_TUNING:
        row.fine_tuned = accuracies[-1]
    elif accuracies and (evaluation is not None or run.config.kind == LINEAR):
        row.linear, row.best_linear = accuracies[-1], max(accuracies)
    return row


def terminal_table(rows: Sequence[Row], k: int) -> Table:
    """The comparison for ``rich``, with the k-NN accuracy for ``k`` neighbors."""
    header, *lines = table_cells(rows, k)
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


def markdown_table(rows: Sequence[Row], k: int) -> str:
    """The comparison as a table of Markdown."""
    return markdown_rows(table_cells(rows, k), len(_TEXT))


def markdown_rows(cells: Sequence[Sequence[str]], text: int) -> str:
    """A table of Markdown from its header and lines; the first ``text`` columns are no numbers."""
    # Characters that begin HTML, a link, code or emphasis, or end a cell.
    header, *lines = [[re.sub(r'([\\|<[`*])', r'\\\1', cell) for cell in line] for line in cells]
    marks = ['---' if column < text else '---:' for column in range(len(header))]
    return ''.join(f'| {" | ".join(line)} |\n' for line in (header, marks, *lines))


def csv_table(rows: Sequence[Row], k: int) -> str:
    """The comparison as CSV: numbers in full precision, empty where they are missing."""
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
        **{name: getattr(run.config, name) for name in _TEXT[1:]},
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
    lines = [_cells(row, k) for row in rows]
    if all(row.fine_tuned is None for row in rows):
        for line in lines:
            del line['fine-tuned top-1']
    return [list(lines[0]), *(list(line.values()) for line in lines)]


def _cells(row: Row, k: int) -> dict[str, str]:
    run = row.run
    linear, best = _number(row.linear, '.2f'), _number(row.best_linear, '.2f')
    progress = f'{_number(run.done, "d")}/{_number(run.config.planned, "d")}'
    return {
        'run': run.name,
        **{name: getattr(run.config, name) or _MISSING for name in _TEXT[1:]},
        'epochs': progress if run.config.by_epoch else f'{progress} iterations',
        f'k-NN top-1 k={k}': _number(row.knn, '.2f'),
        'linear top-1': linear if best == linear else f'{linear} (best {best})',
        'fine-tuned top-1': _number(row.fine_tuned, '.2f'),
        's/step': _number(run.seconds_per_step, '.3f'),
        'memory MiB': _number(run.memory, '.0f'),
        'loss': _number(run.loss, '.4f'),
    }


def _number(value: float | None, form: str) -> str:
    return _MISSING if value is None else format(value, form)
