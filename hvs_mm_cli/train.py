"""Pretrain a backbone on images with hard view selection.

hvs-mm train --data images/ --out runs/first
hvs-mm train --data images/ --out runs/second --method dino --model vit-small --hours 8
hvs-mm train --out runs/first --resume
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

#: As in hvs_mm.recipes, whose import takes seconds; a test compares them.
METHODS = (
    *('simsiam', 'simclr', 'byol', 'moco', 'mocov3', 'densecl', 'barlowtwins', 'vicreg', 'swav'),
    *('dino', 'ibot', 'dinov2'),
)
MODELS = ('resnet18', 'resnet50', 'vit-tiny', 'vit-small', 'vit-base')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add = parser.add_argument
    add('--data', metavar='DIR', help='images: a folder, flat, nested or in class folders, with or '
        'without train/ and val/; a text file with a path a line; shards, "x-{000..099}.tar" or '
        'hf:PATH')  # fmt: skip
    add('--out', metavar='RUN', required=True, help='folder of the run')
    add('--method', default='simclr', metavar='NAME', help=f'{", ".join(METHODS)}; simclr')
    add('--model', metavar='NAME', help=f'{", ".join(MODELS)}; by default what fits the method and '
        'the machine')  # fmt: skip
    length = parser.add_mutually_exclusive_group()
    length.add_argument('--epochs', type=int, metavar='N', help='passes over the images, 100')
    length.add_argument('--hours', type=float, metavar='H', help='train for about that long')
    length.add_argument('--steps', type=int, metavar='N', help='optimizer steps')
    add('--views', type=int, default=4, metavar='N', help='candidates per image, of which the '
        'hardest 2 are kept, 4')  # fmt: skip
    add('--no-hard-views', dest='hard_views', action='store_false', help='train the method as '
        'published, without selection')  # fmt: skip
    add('--image-size', type=int, metavar='PX', help='side of the crops; that of the images, at '
        'most 224, without a GPU 128')  # fmt: skip
    add('--batch-size', type=_batch_size, default='auto', metavar='N', help='images per step over '
        'all devices, or auto')  # fmt: skip
    add('--init', metavar='FILE', help='start from the backbone of a checkpoint, or of a file of '
        'DINO, iBOT, DINOv2 or timm')  # fmt: skip
    add('--trust', action='store_true', help='read that file even if it holds objects that can run '
        'code')  # fmt: skip
    add('--channels', type=int, metavar='N', help='channels as which images are taken; by default '
        'those of the files, but 3 of 8-bit gray images and of those with an alpha')  # fmt: skip
    add('--resume', nargs='?', const='auto', choices=['auto'], metavar='auto', help='continue the '
        'run from its last checkpoint')  # fmt: skip
    add('--devices', type=int, default=1, metavar='N', help='processes, one per GPU, 1')
    add('--amp', action=argparse.BooleanOptionalAction, help='mixed precision; on a GPU by default')
    add('--threads', type=int, metavar='N', help='threads on a CPU; by default timed steps decide')
    add('--set', dest='settings', nargs='+', action='extend', default=[], metavar='KEY=VALUE',
        help='override entries of the config, e.g. optim_wrapper.optimizer.lr=0.1')  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Train."""
    from hvs_mm.engine import one_line_errors
    from hvs_mm.runs.training import RunError, train
    from hvs_mm.utils.console import short_warnings
    from hvs_mm.utils.option_values import OptionValues

    arguments: dict[str, Any] = vars(args)
    parser = argparse.ArgumentParser()
    parser.add_argument('--set', nargs='+', action=OptionValues, default={})
    settings = arguments.pop('settings')
    arguments['resume'] = args.resume is not None
    try:
        with short_warnings(), one_line_errors():
            if settings:
                settings = parser.parse_args(['--set', *settings]).set
            train(**arguments, settings=settings or None)
    except RunError as error:
        sys.exit(f'error: {error}')
    except KeyboardInterrupt:
        sys.exit(130)


def _batch_size(text: str) -> int | str:
    return text if text == 'auto' else int(text)
