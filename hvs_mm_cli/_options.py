"""Options that several commands share, and the lines that they print."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the run, and what is taken from it."""
    parser.add_argument('run', metavar='RUN', help='folder of a run, or a checkpoint in it')
    parser.add_argument(
        '--network',
        choices=['teacher', 'student'],
        help='network of DINO, iBOT and DINOv2; the teacher by default',
    )
    parser.add_argument(
        '--trust',
        action='store_true',
        help='read checkpoints even if they hold objects that can run code',
    )


def add_image_options(parser: argparse.ArgumentParser, data: str) -> None:
    """Add the images, ``data`` says which, and how they go through the network."""
    add = parser.add_argument
    add('--data', metavar='DIR', required=True, help=data)
    add('--batch-size', type=int, default=128, metavar='N', help='images per step, 128')
    add('--num-workers', type=int, metavar='N', help='processes that read images')
    add('--device', metavar='NAME', help='e.g. cpu or cuda:1; a GPU by default if there is one')


def print_skipped(skipped: Sequence[Any]) -> None:
    """Print one line on broken images that were left out, if there are any."""
    if skipped:
        from hvs_mm.reports import printable
        from hvs_mm.utils.bad_images import describe

        noun = 'image' if len(skipped) == 1 else 'images'
        print(f'left out {len(skipped)} broken {noun}: {printable(describe(list(skipped)))}')


def describe_source(network: str, checkpoint: object) -> str:
    """E.g. ``'teacher of runs/first/epoch_20.pth'``."""
    from hvs_mm.reports import printable

    return f'{network} of {printable(checkpoint)}'
