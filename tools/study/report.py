"""Fill the tables and plots of studies into a page, from the lines of their runs."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

from hvs_mm.engine import one_line_errors, output_file, tool_parser
from hvs_mm.reports import printable


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('page', help='a page of Markdown with blocks, see docs/studies.md')
    checked = 'write nothing; fail if a table or a plot is not what the lines give'
    parser.add_argument('--check', action='store_true', help=checked)
    return parser.parse_args(argv)


def report(args: argparse.Namespace) -> None:
    missing = [name for name in ('pandas', 'scipy') if find_spec(name) is None]
    if missing:
        names = ' and '.join(missing)
        raise ImportError(f'{names}: not installed, run pip install "hvs-mm[analysis]".')
    # After the check, which names the way out.
    from hvs_study.page import fill_page

    page = fill_page(args.page)
    if args.check and page.changed:
        changed = ', '.join(page.changed)
        text = f'{args.page} is not what its lines give: {changed}. Run the tool without --check.'
        raise ValueError(text)
    if args.check:
        print(f'{printable(args.page)} is what its lines give.')
        return
    for path, text in {**page.files, Path(args.page): page.text}.items():
        output_file(path).write_text(text, encoding='utf-8', newline='\n')
    for changed in page.changed or ['nothing']:
        print(f'changed: {printable(changed)}')


def main(argv: list[str] | None = None) -> None:
    with one_line_errors(ImportError, OSError, ValueError):
        report(parse_args(argv))


if __name__ == '__main__':
    main()
