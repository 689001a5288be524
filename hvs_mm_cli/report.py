"""Show what was selected in a run, or in several to compare, as one HTML file."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument('runs', nargs='+', metavar='RUN', help='folder of a run')
    parser.add_argument('--k', type=int, default=20, help='neighbors of the k-NN accuracy, 20')
    parser.add_argument(
        '--out',
        metavar='OUT',
        help='where to write it; by default selection_report.html in the first folder',
    )


def run(args: argparse.Namespace) -> None:
    """Write the report."""
    from pathlib import Path

    from hvs_mm.engine import one_line_errors, output_file
    from hvs_mm.reports import check_neighbors, printable, read_runs, selection_html

    with one_line_errors(OSError, ValueError):
        check_neighbors(args.k)
        path = Path(args.out or Path(args.runs[0]) / 'selection_report.html')
        text = selection_html(read_runs(args.runs), args.k)
        output_file(path).write_text(text, encoding='utf-8')
        print(f'report: {printable(path)}')
