"""Compare runs by what is in their folders: one table and one plot."""

from __future__ import annotations

import argparse

#: Columns of the table where its output goes into a file or a pipe.
PIPE_WIDTH = 200
PLOT_FORMATS = ('.png', '.pdf', '.svg')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument('runs', nargs='+', metavar='RUN', help='folder of a run')
    parser.add_argument('--k', type=int, default=20, help='neighbors of the k-NN accuracy, 20')
    parser.add_argument('--markdown', metavar='OUT', help='write the table as Markdown, too')
    parser.add_argument('--csv', metavar='OUT', help='write the table as CSV, too')
    parser.add_argument(
        '--plot',
        metavar='OUT',
        default='compare.png',
        help='where to write the plot: .png, .pdf or .svg; by default compare.png, here',
    )


def run(args: argparse.Namespace) -> None:
    """Print the table, and write the plot."""
    from hvs_mm.engine import one_line_errors

    with one_line_errors(OSError, ValueError):
        _compare(args)


def _compare(args: argparse.Namespace) -> None:
    import sys
    from pathlib import Path

    from rich.console import Console

    from hvs_mm.engine import output_file
    from hvs_mm.reports import (
        check_neighbors,
        csv_table,
        draw_curves,
        make_rows,
        markdown_table,
        printable,
        read_runs,
        terminal_table,
    )

    check_neighbors(args.k)
    plot = Path(args.plot)
    if plot.suffix.lower() not in PLOT_FORMATS:
        raise ValueError(f'--plot {args.plot}: its name must end in {", ".join(PLOT_FORMATS)}.')
    runs = read_runs(args.runs)
    rows, notes = make_rows(runs, args.k)
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    console.print(terminal_table(rows))
    for note in notes:
        print(f'note: {note}')
    for path, text in (
        (args.markdown, markdown_table(rows)),
        (args.csv, csv_table(rows)),
    ):
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
