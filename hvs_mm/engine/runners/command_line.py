"""What the command lines of the tools have in common."""

from __future__ import annotations

import argparse
import os
import os.path as osp

from mmengine.config import Config, DictAction

from ...utils.printable import printable
from ..checks.overrides import check_overrides

#: What tools write pictures as.
PICTURES = ('.png', '.jpg')


def add_config_options(parser: argparse.ArgumentParser, example: str) -> None:
    """Add ``--cfg-options`` to a tool.

    Args:
        parser: Of the tool.
        example: An option worth overriding there, ``KEY=VALUE``.
    """
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help=f'override settings of the config, e.g. {example}; only keys that exist are taken',
    )


def add_trust_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust`` to a tool that reads checkpoints."""
    parser.add_argument(
        '--trust',
        action='store_true',
        help='read checkpoints even if they hold objects that can run code, or are downloaded',
    )


def add_example_options(parser: argparse.ArgumentParser, images: int) -> None:
    """Add the options of a tool that lets a trained model judge views of training images.

    Args:
        parser: Of the tool.
        images: How many images by default.
    """
    parser.add_argument('config', help='config of a run with hard view selection')
    parser.add_argument('checkpoint', help='its checkpoint')
    parser.add_argument(
        '--images', type=int, default=images, help=f'how many to draw views of, {images}'
    )
    parser.add_argument('--batch-size', type=int, help='that of the training by default')
    parser.add_argument('--seed', type=int, default=0, help='of the views, 0')
    parser.add_argument('--device', help='e.g. cpu or cuda:1; a GPU by default if there is one')
    add_trust_option(parser)
    add_config_options(parser, 'train_dataloader.dataset.data_root=DIR')


def check_example_options(args: argparse.Namespace) -> None:
    """Check the options of :func:`add_example_options`.

    Raises:
        ValueError: If a number is below 1.
    """
    for option, value in (('--images', args.images), ('--batch-size', args.batch_size)):
        if value is not None and value < 1:
            raise ValueError(f'{option} {value}: it must be at least 1.')


def parse_launched(
    parser: argparse.ArgumentParser, argv: list[str] | None = None
) -> argparse.Namespace:
    """Parse the command line of a tool that upstream's launchers may have started.

    Args:
        parser: Of the tool; ``--launcher`` is added to it.
        argv: The arguments, by default those of the process.
    """
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='job launcher',
    )
    # torchrun hands the rank over in the environment, torch.distributed.launch as an argument.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def read_config(path: str) -> Config:
    """Read a config.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    if not osp.isfile(path):
        raise FileNotFoundError(f'config {path!r} does not exist.')
    return Config.fromfile(path)


def set_work_dir(cfg: Config, work_dir: str | None, config: str) -> None:
    """Set where a run writes: as asked for, as its config says, or by the config's name.

    Args:
        cfg: The config, changed in place.
        work_dir: The folder asked for.
        config: The path of the config.
    """
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = osp.join('work_dirs', osp.splitext(osp.basename(config))[0])


def merge_options(cfg: Config, options: dict) -> None:
    """Override settings of a config, in place.

    Raises:
        ValueError: If a key does not exist.
    """
    check_overrides(cfg, options)
    cfg.merge_from_dict(options)


def check_picture(option: str, path: str) -> None:
    """Check that a file is named like a picture.

    Args:
        option: Of the command line, for the message.
        path: Its value.

    Raises:
        ValueError: If its extension is not one of ``PICTURES``.
    """
    if osp.splitext(path)[1].lower() not in PICTURES:
        raise ValueError(f'{option} {path}: its name must end in {" or ".join(PICTURES)}.')


def error_line(error: Exception) -> str:
    """What a tool prints before it stops, for an error that a user can solve."""
    # str() of a KeyError is its repr: quoted, with escaped newlines.
    text = str(error.args[0] if isinstance(error, KeyError) else error)
    if isinstance(error, ImportError) and ('mmdet' in text or 'mmcv' in text):
        text += (
            ': detection needs MMDetection and compiled operators of MMCV, run "make detection".'
        )
    return f'error: {printable(" ".join(text.split()))}'
