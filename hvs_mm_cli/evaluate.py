"""Measure the k-NN and the linear accuracy of a run's features on images in class folders.

hvs-mm eval runs/first --data images/

With train/ and val/ in the folder, the images of val/ are classified; otherwise a fifth of all.
"""

from __future__ import annotations

import argparse

from ._options import add_image_options, add_run_options, describe_source, print_skipped


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_run_options(parser)
    add_image_options(parser, 'folder of class folders, with or without train/ and val/; or '
        'shards with labels, as for hvs-mm train')  # fmt: skip
    parser.add_argument('--k', type=int, metavar='N', help='neighbors, 20')
    parser.add_argument(
        '--out', metavar='FILE', help='where to write the result; eval.json in the run by default'
    )


def run(args: argparse.Namespace) -> None:
    """Evaluate, and print a table."""
    from rich.console import Console
    from rich.table import Table

    from hvs_mm.engine import one_line_errors
    from hvs_mm.reports import printable
    from hvs_mm.runs.accuracy import evaluate
    from hvs_mm.utils.console import short_warnings

    with short_warnings(), one_line_errors():
        result = evaluate(**vars(args))
    source = describe_source(result.network, result.checkpoint)
    print(f'{source}: {result.num_train:,} known images, {result.num_test:,} test images')
    print_skipped(result.skipped)
    table = Table('classifier', 'top-1 %', 'top-5 %')
    for column in table.columns[1:]:
        column.justify = 'right'
    for name, accuracy in (
        (f'{result.k} nearest neighbors', result.knn),
        ('linear', result.linear),
        ('most common class', result.chance),
    ):
        table.add_row(name, f'{accuracy.top1:.2f}', f'{accuracy.top5:.2f}')
    Console().print(table)
    print(f'result: {printable(result.path)}')
