"""What the command lines of the tools share: options, reading configs, writing, error lines."""

from __future__ import annotations

import argparse
import json
import os
import os.path as osp
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import nn

from ...utils.class_name import class_name
from ...utils.option_values import OptionValues
from ...utils.printable import printable
from ..checks.overrides import check_overrides
from ..checks.trust_checks import check_trust
from ..hooks.checkpoint_trust_hook import trust_checkpoints
from .building import build_model

#: Extensions of the pictures that tools write.
PICTURES = ('.png', '.jpg')
#: Errors that a user can solve: a setting, a file, or a package that is missing.
USER_ERRORS = (ImportError, KeyError, OSError, SyntaxError, TypeError, ValueError)


def tool_parser(description: str) -> argparse.ArgumentParser:
    """The parser of a tool, which shows its description as it is written."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_config_options(parser: argparse.ArgumentParser, example: str) -> None:
    """Add ``--cfg-options`` to a tool; ``example`` is a setting worth overriding, ``KEY=VALUE``."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionValues,
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
    """Add the options of a tool that lets a trained model judge views of training images."""
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
    """Raise a ``ValueError`` if a number of :func:`add_example_options` is below 1."""
    for option, value in (('--images', args.images), ('--batch-size', args.batch_size)):
        if value is not None and value < 1:
            raise ValueError(f'{option} {value}: it must be at least 1.')


def parse_launched(
    parser: argparse.ArgumentParser, argv: list[str] | None, example: str
) -> argparse.Namespace:
    """Parse the command line of a tool with a Runner, which upstream's launchers may have started.

    The parser gets the options that such tools share.
    """
    parser.add_argument(
        '--no-pin-memory', action='store_true', help='do not pin the memory of batches'
    )
    parser.add_argument(
        '--verbose', action='store_true', help='print the whole log, and warnings of upstream'
    )
    add_trust_option(parser)
    add_config_options(parser, example)
    launchers = ['none', 'pytorch', 'slurm', 'mpi']
    parser.add_argument('--launcher', choices=launchers, default='none', help='job launcher')
    # torchrun hands the rank over in the environment, torch.distributed.launch as an argument.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def read_config(path: str) -> Config:
    """Read a config; raise a ``FileNotFoundError`` that names a missing one."""
    if not osp.isfile(path):
        folder, name = osp.split(path)
        names = os.listdir(folder or '.') if osp.isdir(folder or '.') else []
        similar = get_close_matches(name, [n for n in names if n.endswith('.py')], n=1)
        hint = f' Did you mean {osp.join(folder, similar[0])}?' if similar else ''
        raise FileNotFoundError(f'config {path!r} does not exist.{hint}')
    return Config.fromfile(path)


def read_merged_config(path: str, options: dict[str, Any]) -> Config:
    """:func:`read_config` followed by :func:`merge_options`."""
    cfg = read_config(path)
    merge_options(cfg, options)
    return cfg


def build_trusted_model(cfg: Config, trust: bool) -> nn.Module:
    """The model of a config, not initialized, after a check of all checkpoints that a run reads.

    With ``trust`` there is no check, and the config is changed so that its run makes none, either.

    Raises:
        ValueError: If a checkpoint cannot be read safely.
    """
    if trust:
        trust_checkpoints(cfg)
    model = build_model(cfg, trust)
    check_trust(cfg, model, trust)
    return model


def set_work_dir(cfg: Config, work_dir: str | None, config: str) -> None:
    """Set where a run writes: as asked for, as its config says, or by the name of the config."""
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = osp.join('work_dirs', osp.splitext(osp.basename(config))[0])


def merge_options(cfg: Config, options: dict) -> None:
    """Override settings of a config, in place; raise a ``ValueError`` if a key does not exist."""
    check_overrides(cfg, options)
    cfg.merge_from_dict(options)


def set_verbose(cfg: Config) -> None:
    """Let the log of a run reach the console, in place; without ReliableRunner it does anyway."""
    hooks = cfg.get('default_hooks') or {}
    is_reliable = class_name({'type': cfg.get('runner_type')}) == 'ReliableRunner'
    if is_reliable and hooks.get('console', {}) is not None:
        settings = {'type': 'ConsoleHook', 'verbose': True}
        cfg.merge_from_dict({'default_hooks': {'console': settings}})


def check_picture(option: str, path: str) -> None:
    """Raise a ``ValueError`` if the file that an option names has no extension of ``PICTURES``."""
    if osp.splitext(path)[1].lower() not in PICTURES:
        raise ValueError(f'{option} {path}: its name must end in {" or ".join(PICTURES)}.')


def output_file(path: str | Path) -> Path:
    """A file to write, whose folder is made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def write_json(path: str | Path, content: Any) -> None:
    """Write numbers for other programs, and make their folder."""
    output_file(path).write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')


@contextmanager
def one_line_errors(*kinds: type[Exception]) -> Iterator[None]:
    """Exit with one line for errors of some types, by default :data:`USER_ERRORS`."""
    kinds = kinds or USER_ERRORS
    try:
        yield
    except kinds as error:
        sys.exit(error_line(error))


def error_line(error: Exception) -> str:
    """The line with which a tool stops at an error that a user can solve."""
    # str() of a KeyError is its repr: quoted, with escaped newlines.
    text = str(error.args[0] if isinstance(error, KeyError) else error)
    if isinstance(error, ImportError) and 'mmdet' in text:
        text += ': detection needs MMDetection, run "make detection".'
    return f'error: {printable(" ".join(text.split()))}'
