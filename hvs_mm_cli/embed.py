"""Write the features of all images of a folder.

hvs-mm embed runs/first --data images/ --out features.npz
hvs-mm embed runs/first --data images/ --out features.parquet
"""

from __future__ import annotations

import argparse

from ._options import add_image_options, add_run_options, print_skipped


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_run_options(parser)
    add_image_options(
        parser,
        'folder of images, flat, nested or in class folders; a text file with a path a line; or '
        'shards, as for hvs-mm train',
    )
    parser.add_argument('--out', metavar='FILE', required=True, help='.npz or .parquet')
    parser.add_argument('--force', action='store_true', help='overwrite the file')


def run(args: argparse.Namespace) -> None:
    """Compute and write the features."""
    from hvs_mm.engine import one_line_errors
    from hvs_mm.reports import printable
    from hvs_mm.runs.embedding import embed
    from hvs_mm.utils.console import short_warnings

    with short_warnings(), one_line_errors():
        embedding = embed(**vars(args))
    print_skipped(embedding.skipped)
    number, width = embedding.features.shape
    labels = '' if embedding.labels is None else f', labels of {len(embedding.classes)} classes'
    print(f'features: {number:,} images, {width} numbers each{labels}')
    print(f'written: {printable(args.out)}')
