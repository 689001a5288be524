"""Picture the candidate views that a training on a folder of images would draw.

hvs-mm views --data images/
hvs-mm views --data images/ --method dino --out dino.png
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add = parser.add_argument
    add('--data', metavar='DIR', required=True, help='images, as for hvs-mm train')
    add('--out', metavar='FILE', default='views.png', help='.png or .jpg; views.png, here')
    add('--method', default='simclr', metavar='NAME', help='as for hvs-mm train; simclr')
    add('--model', metavar='NAME', help='as for hvs-mm train')
    add('--views', type=int, default=4, metavar='N', help='candidates per image, 4')
    add('--image-size', type=int, metavar='PX', help='side of the crops')
    add('--channels', type=int, metavar='N', help='as for hvs-mm train')
    add('--number', type=int, default=4, metavar='N', help='images, 4')
    add('--seed', type=int, default=0, metavar='N', help='seed of the views, 0')


def run(args: argparse.Namespace) -> None:
    """Draw."""
    from hvs_mm.engine import one_line_errors
    from hvs_mm.reports import printable
    from hvs_mm.runs.view_picture import draw_views
    from hvs_mm.utils.console import short_warnings

    with short_warnings(), one_line_errors():
        path, recipe = draw_views(**vars(args))
    for topic in ('images', 'channels', 'network', 'views'):
        if topic in recipe.reasons:
            print(f'{topic:<10}{printable(recipe.reasons[topic])}')
    print(f'written: {printable(path)}')
