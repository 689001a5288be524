"""Show what was selected in a run, or in several to compare, as one HTML file."""

from __future__ import annotations

import argparse
from pathlib import Path

from hvs_mm.engine import one_line_errors, output_file, tool_parser
from hvs_mm.reports import printable, read_runs, selection_html


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('runs', nargs='+', metavar='WORK_DIR', help='work dir of a run')
    parser.add_argument('--k', type=int, default=20, help='neighbors of the k-NN accuracy, 20')
    parser.add_argument(
        '--out',
        metavar='OUT',
        help='where to write it; by default selection_report.html in the first work dir',
    )
    return parser.parse_args(argv)


def report(args: argparse.Namespace) -> Path:
    if args.k < 1:
        raise ValueError(f'--k {args.k}: it takes at least 1 neighbor.')
    path = Path(args.out or Path(args.runs[0]) / 'selection_report.html')
    text = selection_html(read_runs(args.runs), args.k)
    output_file(path).write_text(text, encoding='utf-8')
    return path


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    with one_line_errors(OSError, ValueError):
        print(f'report: {printable(report(args))}')


if __name__ == '__main__':
    main()
