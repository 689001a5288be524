"""How much of what was logged is remembered."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import LogProcessor, Runner
from mmpretrain.registry import HOOKS

#: Numbers that are remembered at least, of every kind.
_AT_LEAST = 1000


@HOOKS.register_module()
class ScalarHistoryHook(Hook):
    """Remembers of the logged numbers as many as log lines are made of.

    MMEngine (0.10.7 and 0.10.12) remembers the last million of each, copies them in every iteration
    and saves them in every checkpoint: for 20 of them after 375,000 iterations 8 ms an iteration
    and 120 MB. Log lines take means over a window or an epoch. With a window ``'global'`` in
    ``log_processor.custom_cfg`` all is remembered as ever.

    :class:`ReliableRunner` has it by default.
    """

    priority = 'VERY_LOW'

    def before_train(self, runner: Runner) -> None:
        """Find out how many that are."""
        self._limit = _needed(runner)

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Bound those that are there by now."""
        if self._limit is not None:
            for buffer in runner.message_hub.log_scalars.values():
                # Which it keeps to from its next number on.
                buffer.max_length = self._limit


def _needed(runner: Runner) -> int | None:
    """Length of the longest window; ``None`` if it is not known."""
    processor = runner.log_processor
    if not isinstance(processor, LogProcessor):
        return None
    windows = [processor.window_size]
    windows += [entry['window_size'] for entry in processor.custom_cfg if 'window_size' in entry]
    if 'global' in windows:
        return None
    # MMEngine takes means of times over whole passes, too.
    passes = [runner.train_loop.dataloader]
    if runner.val_loop is not None:
        passes.append(runner.val_loop.dataloader)
    lengths = [len(loader) for loader in passes if hasattr(loader, '__len__')]
    return max([_AT_LEAST, *lengths, *(window for window in windows if window != 'epoch')])
