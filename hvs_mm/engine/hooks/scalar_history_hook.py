"""Limit the history of logged numbers."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import LogProcessor, Runner
from mmpretrain.registry import HOOKS

#: Shortest history of each number.
_AT_LEAST = 1000


@HOOKS.register_module()
class ScalarHistoryHook(Hook):
    """Keeps as much of the logged numbers as log lines need.

    MMEngine (0.10.7 and 0.10.12) keeps the last million of each, copies them in every iteration
    and saves them in every checkpoint: for 20 of them after 375,000 iterations 8 ms an iteration
    and 120 MB. Log lines take means over a window or an epoch. A window ``'global'`` in
    ``log_processor.custom_cfg`` keeps everything.
    """

    priority = 'VERY_LOW'

    def before_train(self, runner: Runner) -> None:
        self._limit = _longest_window(runner)

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Limit the buffers, which may be new; each applies the limit with its next number."""
        if self._limit is not None:
            for buffer in runner.message_hub.log_scalars.values():
                buffer.max_length = self._limit


def _longest_window(runner: Runner) -> int | None:
    """Length of the longest window; ``None`` if it is not known."""
    processor = runner.log_processor
    if not isinstance(processor, LogProcessor):
        return None
    windows = [processor.window_size]
    windows += [entry['window_size'] for entry in processor.custom_cfg if 'window_size' in entry]
    if 'global' in windows:
        return None
    # MMEngine also averages times over whole passes.
    loops = filter(None, (runner.train_loop, runner.val_loop))
    lengths = [len(loop.dataloader) for loop in loops if hasattr(loop.dataloader, '__len__')]
    return max([_AT_LEAST, *lengths, *(window for window in windows if window != 'epoch')])
