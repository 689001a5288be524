"""Evaluate a checkpoint with a config: upstream's flags, and checks before anything is written."""

from __future__ import annotations

import argparse
import inspect

import mmengine
import torch
from mmengine.config import Config, ConfigDict
from mmengine.evaluator import DumpResults
from mmengine.registry import HOOKS, DefaultScope

from hvs_mm.engine import (
    build_runner,
    merge_options,
    one_line_errors,
    parse_launched,
    preflight_test,
    prepare_cpu_distributed,
    read_config,
    set_verbose,
    set_work_dir,
    tool_parser,
    trust_checkpoints,
)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser('Evaluate a checkpoint.')
    parser.add_argument('config', help='path of the config')
    parser.add_argument('checkpoint', help='the trained model')
    parser.add_argument('--work-dir', help='where the log goes; by default work_dirs/<config name>')
    parser.add_argument('--out', help='write the results to this file')
    parser.add_argument(
        '--out-item',
        choices=['metrics', 'pred'],
        help='what to write: the metrics, or all predictions (the default, a .pkl file)',
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision')
    parser.add_argument('--show', action='store_true', help='show predictions in a window')
    parser.add_argument('--show-dir', help='write images with their predictions into this folder')
    parser.add_argument('--interval', type=int, default=1, help='draw only every n-th prediction')
    parser.add_argument('--wait-time', type=float, default=2, help='seconds per window')
    parser.add_argument(
        '--tta',
        action='store_true',
        help='augment at test time, as tta_model and tta_pipeline of the config say',
    )
    return parse_launched(parser, argv, 'test_dataloader.batch_size=64')


def load_config(args: argparse.Namespace) -> Config:
    """The config with the command line merged in.

    Raises:
        FileNotFoundError: If there is no such config.
        ValueError: If an option does not fit the config.
    """
    if args.out_item is not None and args.out is None:
        raise ValueError(f'--out-item {args.out_item} needs --out FILE.')
    if args.out is not None and args.out_item != 'metrics' and not args.out.endswith('.pkl'):
        raise ValueError(
            f'--out {args.out}: predictions are written to a .pkl file; --out-item metrics takes '
            '.json, too.'
        )
    cfg = read_config(args.config)
    cfg.launcher = args.launcher
    cfg.load_from, cfg.resume = args.checkpoint, False
    set_work_dir(cfg, args.work_dir, args.config)
    for key in ('test_dataloader', 'test_evaluator', 'test_cfg'):
        if cfg.get(key) is None:
            raise ValueError(f'{args.config} has no {key}: it does not say on what to test.')
    if args.amp:
        cfg.test_cfg.fp16 = True
    if args.show or args.show_dir is not None:
        draw_predictions(cfg, args)
    if args.tta:
        augment_at_test_time(cfg)
    merge_options(cfg, args.cfg_options)
    loader = cfg.test_dataloader
    loader.setdefault('pin_memory', torch.cuda.is_available())
    if args.no_pin_memory:
        loader.pin_memory = False
    # torch takes it only where there are workers.
    if loader.get('num_workers', 0) == 0:
        loader.persistent_workers = False
    if args.trust:
        trust_checkpoints(cfg)
    if args.verbose:
        set_verbose(cfg)
    return cfg


def draw_predictions(cfg: Config, args: argparse.Namespace) -> None:
    """Switch the config's hook for pictures on, in place.

    Raises:
        ValueError: If it has none.
    """
    hook = (cfg.get('default_hooks') or {}).get('visualization')
    if hook is None:
        raise ValueError('--show: the config has no default_hooks.visualization that draws.')
    with (
        DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmpretrain')),
        HOOKS.switch_scope_and_registry(None) as registry,
    ):
        taken = inspect.signature(registry.get(hook.type)).parameters
    # MMPretrain and MMDetection name the same settings differently.
    settings = dict(
        enable=True,
        draw=True,
        out_dir=args.show_dir,
        test_out_dir=args.show_dir,
        show=args.show,
        interval=args.interval,
    )
    hook.update({key: value for key, value in settings.items() if key in taken})
    # MMPretrain's takes it without naming it.
    hook.wait_time = args.wait_time


def augment_at_test_time(cfg: Config) -> None:
    """Wrap the model and replace the pipeline as the config says, in place.

    Raises:
        ValueError: If it says nothing.
    """
    for key in ('tta_model', 'tta_pipeline'):
        if key not in cfg:
            raise ValueError(f'--tta: the config has no {key}.')
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    with one_line_errors():
        cfg = load_config(args)
        preflight_test(cfg, args.trust)
        prepare_cpu_distributed(cfg)
    runner = build_runner(cfg)
    if args.out is not None and args.out_item != 'metrics':
        runner.test_evaluator.metrics.append(DumpResults(out_file_path=args.out))
    # An operator that torchvision does not have is an ImportError.
    with one_line_errors(ImportError):
        metrics = runner.test()
    if args.out is not None and args.out_item == 'metrics':
        mmengine.dump(metrics, args.out)


if __name__ == '__main__':
    main()
