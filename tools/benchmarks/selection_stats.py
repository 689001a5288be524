"""What SelectionStatsHook costs: its share of the time of a run's steps.

Trains a config that counts epochs for some iterations and adds up, in the same run, the time spent
in the hook and in everything between two batches. On a GPU the hook waits for the device once per
interval, which is counted as its own time.
"""

from __future__ import annotations

import tempfile
from itertools import pairwise
from statistics import mean
from typing import Any

from _measuring import Clock, benchmark_parser
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from hvs_mm.engine import (
    SelectionStatsHook,
    add_trust_option,
    build_trusted_model,
    one_line_errors,
    read_merged_config,
)

#: Steps that are not counted.
_WARM_UP = 5


@HOOKS.register_module()
class TimedStatsHook(SelectionStatsHook):
    """Keeps the seconds of its calls, and when they ended."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.own: list[float] = []
        self.ends: list[float] = []
        # On the host: the hook itself waits for a GPU where it has to.
        self._clock = Clock()

    def after_train_iter(self, *args: Any, **kwargs: Any) -> None:
        with self._clock.part('own'):
            super().after_train_iter(*args, **kwargs)
        self.own.append(self._clock.read()['own'])
        self.ends.append(self._clock.now())


def main(argv: list[str] | None = None) -> None:
    parser = benchmark_parser(
        __doc__,
        'train_dataloader.batch_size=64',
        iterations=(100, 'iterations of the run'),
        interval=(50, 'interval of the hook'),
    )
    add_trust_option(parser)
    args = parser.parse_args(argv)
    if args.iterations < args.interval + _WARM_UP:
        parser.error(
            f'--iterations {args.iterations}: it takes at least --interval + {_WARM_UP} of them, '
            f'{args.interval + _WARM_UP}, or the hook would not act as it does in a run.'
        )
    with one_line_errors():
        cfg = read_merged_config(args.config, args.cfg_options)
    cfg.default_hooks.selection = dict(type='TimedStatsHook', interval=args.interval)
    cfg.default_hooks.checkpoint = None
    cfg.default_hooks.pop('panel', None)
    # As many batches as asked for, in one epoch.
    batch_size = cfg.train_dataloader.batch_size
    cfg.train_dataloader.dataset.indices = args.iterations * batch_size
    cfg.train_cfg.max_epochs = 1
    cfg.log_level = 'WARNING'
    with tempfile.TemporaryDirectory() as folder:
        cfg.work_dir = folder
        with one_line_errors():
            build_trusted_model(cfg, args.trust)
        runner = Runner.from_cfg(cfg)
        runner.train()
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, TimedStatsHook))
    steps = [end - start for start, end in pairwise(hook.ends)][_WARM_UP:]
    step, own = mean(steps), mean(hook.own[_WARM_UP:])
    print(
        f'{len(steps)} steps of batch {batch_size}: step {1e3 * step:.1f} ms, hook '
        f'{1e3 * own:.3f} ms (means) = {own / step:.2%} of a step'
    )


if __name__ == '__main__':
    main()
