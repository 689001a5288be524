"""Plot the realized hardness of selectors on several checkpoints.

Reads the files that ``selection_agreement.py --json`` writes, one a checkpoint, and draws a row for
each selector with a dot for each checkpoint, named after its config.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from hvs_mm.engine import one_line_errors, tool_parser
from hvs_mm.utils.atomic_write import atomic_write


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('files', nargs='+', metavar='JSON', help='of selection_agreement.py')
    parser.add_argument('--out', default='hardness.png', metavar='FILE')
    return parser.parse_args(argv)


def read_rows(path: str) -> tuple[str, dict[str, dict[str, Any]]]:
    """The name of the config in a file, and its rows by selector.

    Raises:
        ValueError: If it is no file of ``selection_agreement.py``.
    """
    try:
        content = json.loads(Path(path).read_text())
        rows = {row['selector']: row for row in content['selectors']}
        name = Path(content['config']).stem
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{path}: {error!r}; expected a file that selection_agreement.py --json has written.'
        ) from error
    rows.pop('as configured', None)
    return name, rows


def draw(runs: list[tuple[str, dict[str, dict[str, Any]]]]) -> Figure:
    """A row for each selector, the hardest of the last run at the top."""
    names = list(dict.fromkeys(name for _, rows in reversed(runs) for name in rows))
    names.sort(key=lambda name: -max(rows[name]['hardness'] for _, rows in runs if name in rows))
    figure = Figure(figsize=(8, 0.27 * len(names) + 1.2), layout='constrained')
    axes = figure.subplots()
    for number, (label, rows) in enumerate(runs):
        # Side by side, so that equal numbers do not hide each other.
        shift = 0.5 * (number / max(len(runs) - 1, 1) - 0.5)
        axes.errorbar(
            [row['hardness'] for row in rows.values()],
            [names.index(name) + shift for name in rows],
            xerr=[row['hardness_error'] for row in rows.values()],
            fmt='o', markersize=4, label=label,
        )  # fmt: skip
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.axvline(0, color='0.6', linewidth=1)
    axes.grid(axis='both', color='0.9')
    axes.set_axisbelow(True)
    axes.set_xlabel('realized hardness: 0 random, 1 hardest')
    axes.legend(loc='lower right')
    return figure


def plot(args: argparse.Namespace) -> None:
    figure = draw([read_rows(path) for path in args.files])
    with atomic_write(args.out) as unfinished:
        figure.savefig(unfinished, format='png', dpi=110)
    print(f'plot: {args.out}')


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    with one_line_errors():
        plot(args)


if __name__ == '__main__':
    main()
