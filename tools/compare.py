"""Compare runs by what is in their work dirs: one table and one plot."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hvs_mm.engine import one_line_errors, output_file, tool_parser
from hvs_mm.reports import draw_curves, make_rows, markdown_rows, printable, read_runs
from hvs_mm.reports.comparison import TEXT_COLUMNS, table_cells

#: Columns of the table where its output goes into a file or a pipe.
PIPE_WIDTH = 200
PLOT_FORMATS = ('.png', '.pdf', '.svg')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('runs', nargs='+', metavar='RUN', help='work dir of a run')
    parser.add_argument('--k', type=int, default=20, help='neighbors of the k-NN accuracy, 20')
    parser.add_argument('--markdown', metavar='OUT', help='write the table as Markdown, too')
    parser.add_argument('--csv', metavar='OUT', help='write the table as CSV, too')
    parser.add_argument(
        '--plot',
        metavar='OUT',
        default='compare.png',
        help='where to write the plot: .png, .pdf or .svg; by default compare.png, here',
    )
    return parser.parse_args(argv)


def terminal_table(rows: Sequence[dict[str, Any]]) -> Table:
    """The comparison for ``rich``."""
    header, *lines = table_cells(rows)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for title in header:
        if title in TEXT_COLUMNS:
            table.add_column(title, overflow='fold')
        else:
            # Ten columns: numbers stay whole where the terminal is narrow.
            table.add_column(title.replace(' ', '\n'), justify='right', no_wrap=True)
    for line in lines:
        # Text is no markup, whatever a run is called.
        table.add_row(*map(Text, line))
    return table


def markdown_table(rows: Sequence[dict[str, Any]]) -> str:
    """The comparison as a table of Markdown."""
    return markdown_rows(table_cells(rows), len(TEXT_COLUMNS))


def csv_table(rows: Sequence[dict[str, Any]]) -> str:
    """The comparison as CSV: numbers in full precision, empty where they are missing."""
    text = StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def compare(args: argparse.Namespace) -> None:
    if args.k < 1:
        raise ValueError(f'--k {args.k}: it takes at least 1 neighbor.')
    plot = Path(args.plot)
    if plot.suffix.lower() not in PLOT_FORMATS:
        raise ValueError(f'--plot {args.plot}: its name must end in {", ".join(PLOT_FORMATS)}.')
    runs = read_runs(args.runs)
    rows, notes = make_rows(runs, args.k)
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    console.print(terminal_table(rows))
    for note in notes:
        print(f'note: {note}')
    for path, text in ((args.markdown, markdown_table(rows)), (args.csv, csv_table(rows))):
        if path is not None:
            output_file(path).write_text(text, encoding='utf-8')
            print(f'written: {printable(path)}')
    shown = {row['run'] for row in rows}
    figure = draw_curves([run for run in runs if run.name in shown], args.k)
    if figure is None:
        print('note: there is nothing to plot yet.')
    else:
        figure.savefig(output_file(plot), dpi=150)
        print(f'plot: {printable(plot)}')


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    with one_line_errors(OSError, ValueError):
        compare(args)


if __name__ == '__main__':
    main()
