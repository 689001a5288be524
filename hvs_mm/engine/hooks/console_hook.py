"""The console of a run: on what it runs, one short line per log interval, results."""

from __future__ import annotations

import os.path as osp
import time
from collections import Counter
from collections.abc import Sequence
from itertools import count
from typing import Any

import torch
from mmengine.dist import all_gather_object, get_world_size, is_main_process
from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner
from mmpretrain.registry import HOOKS

from ...models.hvs_algorithm import HVSAlgorithm
from ...utils.arguments import check_whole
from ...utils.console import forget_shown
from ...utils.unwrap_model import unwrap_model
from .selection_stats_hook import SelectionStatsHook

#: ``LoggerHook.interval`` of MMEngine and of MMPretrain: nobody has chosen these for a run.
_UPSTREAM_INTERVALS = (10, 100)
#: Seconds after which the first line of a run comes at the latest.
_FIRST_LINE = 20
#: Explains the numbers of selection at the end of the lines.
_LEGEND = (
    'hard: kept views, from 0 random to 1 hardest; IoU: overlap of kept pairs minus all pairs; '
    'low: lowest-IoU pairs kept'
)


@HOOKS.register_module()
class ConsoleHook(Hook):
    """Prints on what a run trains, a short line per log interval, and results of evaluations.

    Acts in the first process only. Lines have the epoch, the step of it, the loss since the last
    line, the learning rate, the time left, images per second over all processes without validation,
    and, if :class:`SelectionStatsHook` has logged since the last line, its ``hardness``,
    ``iou_kept - iou_all`` and ``lowest_iou``. The log file and the visualizer are those of
    ``LoggerHook``.

    :class:`ReliableRunner` has it by default and keeps its own log out of the console, unless
    ``default_hooks.console`` says otherwise.

    Args:
        interval: Iterations of an epoch from one line to the next; the end of an epoch has a line,
            too. ``None`` takes the ``interval`` of ``LoggerHook`` if it is not upstream's 10 or
            100, and otherwise at most ten lines an epoch, see :func:`automatic_interval`.
        verbose: Print no lines, because the whole log goes to the console.

    Raises:
        ValueError: If ``interval`` is below 1.
    """

    priority = 'VERY_LOW'

    def __init__(self, interval: int | None = None, verbose: bool = False) -> None:
        if interval is not None:
            check_whole('interval', interval, hint='a number of iterations.')
        self.interval = interval
        self.verbose = verbose

    def before_run(self, runner: Runner) -> None:
        trains = isinstance(runner._train_loop, BaseLoop)
        # A collective: all processes name their device.
        devices = all_gather_object(_device_name(runner))
        self._print(describe_devices('training' if trains else 'testing', devices))
        if not trains or not is_main_process():
            return
        self._by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        self._print(_describe_run(runner))
        self._print(f'full log: {osp.join(runner.log_dir, runner.timestamp)}.log')
        self._stats = _find(runner, SelectionStatsHook)
        if self._stats is not None and not self.verbose:
            self._print(_LEGEND)

    def before_train(self, runner: Runner) -> None:
        if not is_main_process():
            return
        if runner.iter:
            self._print(f'resumed from {runner._load_from} at {position(runner)}')
        elif runner._load_from:
            self._print(f'starting from the weights of {runner._load_from}')
        length = len(runner.train_dataloader) if self._by_epoch else runner.max_iters // 10
        logger, base = _find(runner, LoggerHook), getattr(self._stats, 'interval', 50)
        chosen = None if logger is None else logger.interval
        self._interval = (
            self.interval
            or (None if chosen in _UPSTREAM_INTERVALS else chosen)
            or automatic_interval(length, base)
        )
        self._started = self._tick = time.monotonic()
        self._has_printed = False
        # Steps, images and seconds since the last line, and of this process.
        self._recent: Counter[str] = Counter()
        self._total: Counter[str] = Counter()
        self._done = 0
        self._shown_stats = None

    def before_train_epoch(self, runner: Runner) -> None:
        self._tick = time.monotonic()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        if not is_main_process() or self.verbose:
            return
        now = time.monotonic()
        self._count(runner, data_batch, now - self._tick)
        self._tick = now
        is_late = not self._has_printed and now - self._started > _FIRST_LINE
        is_end = self._by_epoch and self.end_of_epoch(runner.train_dataloader, batch_idx)
        is_due = self.every_n_inner_iters(batch_idx, self._interval)
        if is_due or is_end or is_late or self.is_last_train_iter(runner):
            self._print(self._line(runner, batch_idx + 1))
            self._has_printed = True
            self._recent.clear()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self._tick = time.monotonic()
        trains = isinstance(runner._train_loop, BaseLoop)
        when = f' after epoch {runner.epoch}' if trains and runner.epoch else ''
        self._print_metrics(f'validation{when}', metrics)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self._print_metrics('test', metrics)

    def after_run(self, runner: Runner) -> None:
        forget_shown()

    def _count(self, runner: Runner, data_batch: Any, seconds: float) -> None:
        samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
        images = len(samples or ()) or runner.train_dataloader.batch_size or 0
        images *= get_world_size()
        # It adds up floats as well.
        step = Counter(steps=1, images=images, seconds=seconds)  # type: ignore[call-overload]
        self._done += 1
        if self._done == 2:
            # The first step started the workers and may have compiled the model: not counted.
            self._recent, self._total = Counter(steps=self._recent['steps']), Counter()
        self._recent += step
        self._total += step

    def _line(self, runner: Runner, step: int) -> str:
        total, recent = self._total, self._recent
        left = (runner.max_iters - runner.iter - 1) * total['seconds'] / total['steps']
        speed = recent['images'] / max(recent['seconds'], 1e-9)
        scalars = runner.message_hub.log_scalars
        loss, rate = scalars.get('train/loss'), scalars.get('train/lr')
        fields = [
            f'step {_of(step, runner.max_iters)}',
            'loss      -' if loss is None else f'loss {loss.mean(recent["steps"]):6.3f}',
            'lr       -' if rate is None else f'lr {rate.current():.1e}',
            f'eta {duration(left):>7}',
            f'{speed:5.0f} img/s' if speed >= 10 else f'{speed:5.1f} img/s',
            *self._selection(),
        ]
        if self._by_epoch:
            length = len(runner.train_dataloader)
            epoch = _of(runner.epoch + 1, runner.max_epochs)
            fields[0] = f'epoch {epoch}/{runner.max_epochs} step {_of(step, length)}'
        return '  '.join(fields)

    def _selection(self) -> list[str]:
        """The numbers of selection, if there are new ones."""
        stats = None if self._stats is None else self._stats.latest
        if stats is None or stats is self._shown_stats:
            return []
        self._shown_stats = stats
        return [
            f'hard {stats["hardness"]:.2f}',
            f'IoU {stats["iou_kept"] - stats["iou_all"]:+.3f}',
            f'low {100 * stats["lowest_iou"]:.0f}%',
        ]

    def _print_metrics(self, name: str, metrics: dict[str, float] | None) -> None:
        numbers = [f'{key} {value:.4g}' for key, value in numeric(metrics or {}).items()]
        if numbers and not self.verbose:
            self._print(f'{name}: {"  ".join(numbers)}')

    @staticmethod
    def _print(text: str) -> None:
        if is_main_process():
            print(text, flush=True)


def automatic_interval(length: int, base: int) -> int:
    """The smallest of ``base`` times 1, 2, 5, 10, 20 ... that is at most ten times in ``length``.

    Multiples, so that statistics that are logged every ``base`` iterations are new in each line.
    """
    steps = (base * factor * 10**power for power in count() for factor in (1, 2, 5))
    return next(step for step in steps if length // step <= 10)


def describe_devices(doing: str, devices: Sequence[tuple[str, int]]) -> str:
    """Say on what a run trains; one name of a device and number of threads per process.

    The name is ``'cpu'`` without an accelerator.
    """
    name, threads = devices[0]
    if name != 'cpu':
        names = Counter(name for name, _ in devices).items()
        return f'{doing} on {", ".join(f"{n} x {name}" if n > 1 else name for name, n in names)}'
    place = plural(threads, 'thread')
    if len(devices) > 1:
        place = f'{len(devices)} processes with {place} each'
    found = '' if torch.cuda.is_available() else 'no GPU found: '
    return f'{found}{doing} on the CPU, {place}'


def numeric(metrics: dict[str, Any]) -> dict[str, float]:
    """The metrics that are plain numbers."""
    return {key: value for key, value in metrics.items() if isinstance(value, (int, float))}


def plural(number: int, noun: str) -> str:
    """A number of things."""
    return f'{number} {noun}{"s" * (number != 1)}'


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, or days and hours."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f'{hours}:{minutes:02}:{seconds:02}'
    return f'{hours // 24}d{hours % 24:02}h'


def position(runner: Runner, done: int | None = None) -> str:
    """Where a training run is: its epoch and the steps of it that are done.

    Within a step the Runner does not count it yet: ``done`` is the number of all steps then.
    """
    done = runner.iter if done is None else done
    if not isinstance(runner.train_loop, EpochBasedTrainLoop):
        return f'step {done} of {runner.max_iters}'
    length = len(runner.train_dataloader)
    done -= runner.epoch * length
    if runner.epoch and not done:
        return f'the end of epoch {runner.epoch} of {runner.max_epochs}'
    return f'epoch {runner.epoch + 1} (step {done} of {length})'


def _describe_run(runner: Runner) -> str:
    """Name of the run, its method, and how much it sees."""
    model, loader = unwrap_model(runner.model), runner.train_dataloader
    name = osp.splitext(osp.basename(runner.cfg.filename or ''))[0]
    if isinstance(model, HVSAlgorithm):
        views = f', {sum(model.keep)} of {sum(model.candidates)} views kept'
        method = type(model.algorithm).__name__ + views
    else:
        method = type(model).__name__
    parts = [f'{name}: {method}' if name else method]
    if hasattr(loader.dataset, '__len__'):
        parts.append(plural(len(loader.dataset), 'image'))
    if loader.batch_size:
        parts.append(f'batch size {loader.batch_size * get_world_size()}')
    # A run may be limited to fewer steps than its last epoch has.
    if runner.max_iters == (runner.max_epochs or 0) * len(loader):
        parts.append(f'{plural(runner.max_epochs, "epoch")} of {plural(len(loader), "step")}')
    else:
        parts.append(plural(runner.max_iters, 'step'))
    return ', '.join(parts)


def _device_name(runner: Runner) -> tuple[str, int]:
    device = next(unwrap_model(runner.model).parameters()).device
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else device.type
    return name, torch.get_num_threads()


def _find(runner: Runner, kind: type[Hook]) -> Any:
    return next((hook for hook in runner.hooks if isinstance(hook, kind)), None)


def _of(number: int, total: int) -> str:
    return f'{number:{len(str(total))}}'
