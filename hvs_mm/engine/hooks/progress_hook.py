"""A progress bar in place of log lines."""

from __future__ import annotations

import atexit
import time
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS
from rich import progress
from rich.console import Console

from .console_hook import ConsoleHook

_LABELS = {'train/loss': 'loss', 'train/hvs_score': 'score kept', 'train/hvs_score_mean': 'of all'}


@HOOKS.register_module()
class ProgressHook(Hook):
    """Shows a progress bar with the loss and the scores of kept and of all combinations.

    Acts after every training iteration. Without a terminal, such as in a file or a CI log, it
    prints a line after every epoch instead. Where a :class:`ConsoleHook` prints lines, as in every
    :class:`ReliableRunner`, it shows nothing.
    """

    priority = 'VERY_LOW'

    def before_train(self, runner: Runner) -> None:
        self._console = Console()
        has_lines = any(isinstance(hook, ConsoleHook) for hook in runner.hooks)
        self._is_shown = is_main_process() and not has_lines
        self._started = time.monotonic()
        self._bar = progress.Progress(
            progress.TextColumn('[bold]training'),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TimeRemainingColumn(),
            progress.TextColumn('{task.fields[numbers]}'),
            console=self._console,
            disable=not (self._is_shown and self._console.is_terminal),
        )
        self._bar.start()
        # Restores the cursor if the training breaks off.
        atexit.register(self._bar.stop)
        self._task = self._bar.add_task('', total=runner.max_iters, numbers='')

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        self._bar.update(self._task, completed=runner.iter + 1, numbers=_numbers(runner))

    def after_train_epoch(self, runner: Runner) -> None:
        if self._is_shown and not self._console.is_terminal:
            seconds = time.monotonic() - self._started
            self._console.print(
                f'epoch {runner.epoch + 1}/{runner.max_epochs}  {seconds:.0f} s  {_numbers(runner)}'
            )

    def after_train(self, runner: Runner) -> None:
        self._bar.stop()
        atexit.unregister(self._bar.stop)


def _numbers(runner: Runner) -> str:
    scalars = runner.message_hub.log_scalars
    return '  '.join(
        f'{label} {scalars[key].mean(10):.3f}' for key, label in _LABELS.items() if key in scalars
    )
