"""Train with a config: upstream's flags, checks before anything is written, and CPU clusters."""

# ruff: noqa: E402 -- what comes before the imports is for the seconds that they take.
from __future__ import annotations

import os
import signal
from types import FrameType


def stop_early(number: int, frame: FrameType | None) -> None:
    """End the process at Ctrl-C without a traceback through half-imported packages."""
    if os.environ.get('RANK', '0') == '0':
        print('\nstopped before training began', flush=True)
    os._exit(128 + number)


if __name__ == '__main__':
    signal.signal(signal.SIGINT, stop_early)
    # Before torch is imported: threads that wait for others give their core away.
    os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

import argparse
import os.path as osp
import shlex
import sys
import warnings
from collections.abc import Sequence

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dist import is_main_process

from hvs_mm.engine import (
    CheckpointError,
    EqualBatchesHook,
    NonFiniteError,
    TrainingSession,
    build_runner,
    check_batches,
    describe_loader_failure,
    describe_work_dir_failure,
    merge_options,
    one_line_errors,
    parse_launched,
    preflight,
    prepare_cpu_distributed,
    read_config,
    remove_checkpoints,
    resumed_checkpoint,
    set_verbose,
    set_work_dir,
    tool_parser,
    trust_checkpoints,
)
from hvs_mm.evaluation import check_configured, knn_datasets
from hvs_mm.models import ViewsError
from hvs_mm.recipes import find_images
from hvs_mm.recipes.adapt import add_hard_views, stretch_schedule, use_images
from hvs_mm.utils.bad_images import BadImagesError
from hvs_mm.utils.threads import limit_threads


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser('Train a model.')
    parser.add_argument('config', help='path of the config')
    parser.add_argument(
        '--work-dir', help='where logs and checkpoints go; by default work_dirs/<config name>'
    )
    parser.add_argument(
        '--data',
        metavar='DIR',
        help='train on these images: a folder, flat, nested or in class folders, a text file '
        'with a path a line, "x-{000..099}.tar" or hf:PATH; a classifier needs a folder with '
        'train/CLASS/ and val/CLASS/ in it',
    )
    parser.add_argument(
        '--epochs', type=int, metavar='N', help='train so long, with schedules stretched to it'
    )
    parser.add_argument(
        '--hard-views',
        metavar='4:2',
        help='draw 4 candidates and keep 2, with the config of a baseline; numbers for several '
        'view pipelines are separated by commas',
    )
    parser.add_argument(
        '--threads',
        type=int,
        metavar='N',
        help='threads on a CPU; by default timed steps decide',
    )
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='resume from this checkpoint, or without a value, or with "auto", from the latest of '
        'the work dir, where there is one',
    )
    start.add_argument(
        '--overwrite',
        action='store_true',
        help='start from the beginning, and remove the checkpoints in the work dir',
    )
    parser.add_argument(
        '--allow-changes',
        action='store_true',
        help='resume also with settings that make it another run from there on',
    )
    parser.add_argument(
        '--pretrained',
        metavar='CHECKPOINT',
        help='start from the backbone of this checkpoint, where the config takes one; short for '
        '--cfg-options model.backbone.init_cfg.checkpoint=CHECKPOINT',
    )
    parser.add_argument(
        '--amp', action='store_true', help='mixed precision; bfloat16 if there is no GPU'
    )
    parser.add_argument(
        '--no-validate', action='store_true', help='do not validate during training'
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help="scale the learning rates by the batch size over the config's base batch size",
    )
    parser.add_argument(
        '--no-persistent-workers',
        action='store_true',
        help='start the loader workers again each epoch',
    )
    return parse_launched(parser, argv, 'train_dataloader.batch_size=64 model.keep="[2]"')


def load_config(args: argparse.Namespace) -> Config:
    """The config with the command line merged in.

    Raises:
        FileNotFoundError: If there is no such config.
        ValueError: If an option does not fit the config.
    """
    cfg = read_config(args.config)
    if args.hard_views is not None:
        cfg = add_hard_views(cfg, args.hard_views)
    if args.data is not None:
        use_images(cfg, find_images(args.data))
    if args.epochs is not None:
        stretch_schedule(cfg, args.epochs)
    cfg.launcher = args.launcher
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    set_work_dir(cfg, args.work_dir, args.config)
    if args.amp:
        set_mixed_precision(cfg.optim_wrapper)
    if args.resume is not None:
        cfg.resume = True
        if args.resume != 'auto':
            cfg.load_from = args.resume
    if args.pretrained is not None:
        initializer = backbone_initializer(cfg)
        if initializer is None:
            raise ValueError(
                f'--pretrained: {args.config} does not start from a pretrained backbone, its '
                "model.backbone.init_cfg has no type='PretrainedBackbone'. Those in "
                'configs/benchmarks/ do.'
            )
        initializer.checkpoint = args.pretrained
    merge_options(cfg, args.cfg_options)
    if args.epochs is None and 'train_cfg.max_epochs' in args.cfg_options:
        warn_of_other_schedules(cfg)
    if args.resume == 'auto':
        prefer_own_checkpoint(cfg)
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = cfg.get(name)
        if loader is None:
            continue
        loader.setdefault('pin_memory', torch.cuda.is_available())
        # torch takes it only where there are workers.
        has_workers = loader.get('num_workers', 0) > 0
        loader.persistent_workers = has_workers and loader.get('persistent_workers', True)
        if cfg.get('default_scope', 'mmpretrain') == 'mmpretrain':
            # Elsewhere images of a batch may differ in size, and MMEngine's default fits.
            loader.setdefault('collate_fn', dict(type='default_collate'))
        if args.no_pin_memory:
            loader.pin_memory = False
        if args.no_persistent_workers:
            loader.persistent_workers = False
    if args.auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise ValueError(
                f'--auto-scale-lr: {args.config} does not say for which batch size its learning '
                'rate is meant. Add --cfg-options auto_scale_lr.base_batch_size=N.'
            )
        cfg.auto_scale_lr.enable = True
    drop_needless_initializer(cfg)
    workers = (cfg.get('train_dataloader') or {}).get('num_workers', 0)
    limit_threads(workers, args.threads)
    if args.threads is not None:
        cfg.setdefault('default_hooks', {})['threads'] = dict(
            type='mmpretrain.ThreadsHook', threads=args.threads
        )
    if args.trust:
        trust_checkpoints(cfg)
    if args.verbose:
        set_verbose(cfg)
    return cfg


def warn_of_other_schedules(cfg: Config) -> None:
    """Warn if a run has another length than its schedules."""
    epochs, schedulers = cfg.train_cfg.get('max_epochs'), cfg.get('param_scheduler') or []
    schedulers = [schedulers] if isinstance(schedulers, dict) else schedulers
    last = max((one.get('end', 0) for one in schedulers if one.get('by_epoch', True)), default=0)
    if last not in (0, epochs):
        warnings.warn(
            f'train_cfg.max_epochs={epochs} leaves the schedules as they are, {last} epochs long: '
            f'--epochs {epochs} stretches them.',
            stacklevel=2,
        )


def prefer_own_checkpoint(cfg: Config) -> None:
    """Let a run continue from its own last checkpoint, or else start from the same one as before.

    MMEngine would continue from ``load_from``, as if that checkpoint were this run's.
    """
    start, cfg.load_from = cfg.get('load_from'), None
    if start and resumed_checkpoint(cfg) is None:
        cfg.load_from, cfg.resume = start, False


def backbone_settings(cfg: Config) -> ConfigDict | None:
    """The settings of the model's backbone, with hard views that of its algorithm."""
    return cfg.model.get('algorithm', cfg.model).get('backbone')


def backbone_initializer(cfg: Config) -> ConfigDict | None:
    """The settings of ``PretrainedBackbone``, if the model's backbone starts from it."""
    init = (backbone_settings(cfg) or {}).get('init_cfg')
    is_ours = isinstance(init, dict) and init.get('type') == 'PretrainedBackbone'
    return init if is_ours else None


def drop_needless_initializer(cfg: Config) -> None:
    """Let a run resume without the checkpoint it once started from.

    Such a run takes all its weights from its own checkpoint.
    """
    init = backbone_initializer(cfg)
    if init is not None and resumed_checkpoint(cfg) and not osp.isfile(init.checkpoint or ''):
        backbone_settings(cfg).init_cfg = None


def set_mixed_precision(optim_wrapper: ConfigDict) -> None:
    """Make an optimizer wrapper's config one of mixed precision, in place."""
    if torch.cuda.is_available():
        optim_wrapper.type = 'AmpOptimWrapper'
        optim_wrapper.setdefault('loss_scale', 'dynamic')
    else:
        optim_wrapper.type = 'AutocastOptimWrapper'
        for key in ('loss_scale', 'dtype', 'use_fsdp'):
            optim_wrapper.pop(key, None)


def typed_command(argv: Sequence[str], launcher: str, *more: str) -> str:
    """The command line of this run without ``--resume`` and ``--overwrite``, with more options."""
    tokens, kept = iter(argv), []
    for token in tokens:
        if token == '--resume':
            # Its value, if any, is what follows and is no option.
            token = next(tokens, None)
            if token is None or not token.startswith('-'):
                continue
        if not token.startswith('--resume=') and token != '--overwrite':
            kept.append(token)
    script = osp.relpath(__file__)
    command = ['python', script, *kept]
    if launcher == 'pytorch':
        processes = os.environ.get('WORLD_SIZE', '1')
        kept = [token for token in kept if token not in ('--launcher', 'pytorch')]
        command = [osp.join(osp.dirname(script), 'dist_train.sh'), kept[0], processes, *kept[1:]]
    return shlex.join([*command, *more])


def next_command(cfg: Config) -> str:
    """A template of the command that evaluates the trained model, or else exports it."""
    if cfg.get('test_dataloader') and cfg.get('test_evaluator'):
        return 'python tools/test.py {config} {checkpoint}'
    try:
        knn_datasets(cfg)
    except (OSError, ValueError):
        # There are no labels.
        return 'python tools/extract_backbone.py {checkpoint} {work_dir}/backbone.pth'
    return 'python tools/eval_knn.py {config} {checkpoint}'


def main(argv: list[str] | None = None, command: str | None = None, then: str = '') -> None:
    """Train.

    Args:
        argv: The command line, by default that of the process.
        command: What starts this run, if not this tool, and continues it with ``--resume``.
        then: The next command to propose, see :class:`TrainingSession`.
    """
    args = parse_args(argv)
    typed = sys.argv[1:] if argv is None else argv
    if command:
        # Before the first checkpoint, too: such a run has its config already.
        again = first = f'{command} --resume'
    else:
        again = typed_command(typed, args.launcher, '--resume')
        first = typed_command(typed, args.launcher)
    session = TrainingSession(again, first, args.verbose)
    with session:
        run(args, session, then)


def run(args: argparse.Namespace, session: TrainingSession, then: str) -> None:
    """Check, train, and print the result."""
    with one_line_errors():
        cfg = load_config(args)
        preflight(cfg, args.trust, overwrite=args.overwrite, allow_changes=args.allow_changes)
        check_configured(cfg)
        if args.overwrite:
            remove_checkpoints(cfg)
        prepare_cpu_distributed(cfg)
        runner = session.runner = build_runner(cfg)
        runner.register_hook(EqualBatchesHook())
        loader = runner.train_loop.dataloader
    try:
        check_batches(loader)
        runner.train()
    # An operator that torchvision does not have is an ImportError.
    except (BadImagesError, CheckpointError, ImportError, NonFiniteError, ViewsError) as error:
        sys.exit(f'error: {error}')
    except OSError as error:
        failure = describe_work_dir_failure(runner, error)
        if failure is None:
            raise
        sys.exit(f'error: {failure}')
    except RuntimeError as error:
        failure = describe_loader_failure(error)
        if failure is None:
            raise
        sys.exit(f'error: {failure}')
    if is_main_process():
        session.finish(then or next_command(cfg))


if __name__ == '__main__':
    main()
