"""What SelectionStatsHook costs: its share of the time of a run's steps.

Trains a config that counts epochs for some iterations and adds up, in the same run, the time spent
in the hook and in everything between two batches. On a GPU the hook waits for the device once per
interval, which is counted as its own time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from typing import Any

from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from hvs_mm.engine import (
    SelectionStatsHook,
    add_config_options,
    add_trust_option,
    build_model,
    check_trust,
    error_line,
    merge_options,
    read_config,
    trust_checkpoints,
)

#: Steps that are not counted.
_WARM_UP = 5


@HOOKS.register_module()
class TimedStatsHook(SelectionStatsHook):
    """Keeps the times of its calls and of the steps between them."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.own: list[float] = []
        self.steps: list[float] = []
        self._last: float | None = None

    def after_train_iter(self, *args: Any, **kwargs: Any) -> None:
        started = time.perf_counter()
        super().after_train_iter(*args, **kwargs)
        ended = time.perf_counter()
        self.own.append(ended - started)
        if self._last is not None:
            self.steps.append(ended - self._last)
        self._last = ended


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config')
    parser.add_argument('--iterations', type=int, default=100)
    parser.add_argument('--interval', type=int, default=50, help='that of the hook')
    add_trust_option(parser)
    add_config_options(parser, 'train_dataloader.batch_size=64')
    args = parser.parse_args(argv)
    if args.iterations < args.interval + _WARM_UP:
        parser.error(
            f'--iterations {args.iterations}: it takes at least --interval + {_WARM_UP} of them, '
            f'{args.interval + _WARM_UP}, or the hook would not act as it does in a run.'
        )
    cfg = read_config(args.config)
    merge_options(cfg, args.cfg_options)
    if args.trust:
        trust_checkpoints(cfg)
    cfg.default_hooks.selection = dict(type='TimedStatsHook', interval=args.interval)
    cfg.default_hooks.checkpoint = None
    cfg.default_hooks.pop('panel', None)
    # As many batches as asked for, in one epoch.
    cfg.train_dataloader.dataset.indices = args.iterations * cfg.train_dataloader.batch_size
    cfg.train_cfg.max_epochs = 1
    cfg.log_level = 'WARNING'
    with tempfile.TemporaryDirectory() as folder:
        cfg.work_dir = folder
        try:
            check_trust(cfg, build_model(cfg, args.trust), args.trust)
        except ValueError as error:
            sys.exit(error_line(error))
        runner = Runner.from_cfg(cfg)
        runner.train()
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, TimedStatsHook))
    per_call, per_step = hook.own[_WARM_UP:], hook.steps[_WARM_UP:]
    share = sum(per_call) / len(per_call) / (sum(per_step) / len(per_step))
    print(
        f'{len(per_step)} steps of batch {cfg.train_dataloader.batch_size}: step '
        f'{1e3 * sum(per_step) / len(per_step):.1f} ms, hook '
        f'{1e3 * sum(per_call) / len(per_call):.3f} ms (means) = {share:.2%} of a step'
    )


if __name__ == '__main__':
    main()
