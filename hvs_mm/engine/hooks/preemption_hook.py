"""Save and end when the run is told to stop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ...utils.slurm import requeue_job
from ..optim.step_end import is_end_of_step
from ..runners.agreed_maximum import AgreedMaximum
from ..runners.cpu_distributed import configured_timeout
from .safe_checkpoint_hook import SafeCheckpointHook

#: Exit code of a run that a batch system has stopped and that can continue: EX_TEMPFAIL of
#: sysexits.h, which a process that is simply killed does not have.
PREEMPTED = 75
#: Exit code after Ctrl-C, as shells give it.
_INTERRUPTED = 128 + signal.SIGINT
#: What processes agree on: 0, that an interim checkpoint is due, or this plus a signal's number.
_SAVE = 1


class Preempted(SystemExit):
    """A run ended because of a signal, in all processes after the same step.

    Attributes:
        signal: The signal.
        done: Iterations that were done by then.
    """

    def __init__(self, number: signal.Signals, done: int) -> None:
        super().__init__(_INTERRUPTED if number == signal.SIGINT else PREEMPTED)
        self.signal = number
        self.done = done


@HOOKS.register_module()
class PreemptionHook(Hook):
    """Saves a checkpoint and ends the run after a signal.

    One process needs to get it. All finish the same step, at the latest the one after; the first
    saves by :class:`SafeCheckpointHook`, and all end with the exit code 75, or 130 after Ctrl-C. A
    second signal of the kind acts as if there were no hook: Ctrl-C ends at once.

    After SIGUSR1 a Slurm job is requeued. Slurm sends this signal before the time limit with
    ``--signal=USR1@120``. SIGTERM comes from ``scancel``, too, and from a preemption, after which
    Slurm requeues by itself: it only saves.

    Signals are those of a training step. Before the first step, and in a validation, they wait.

    :class:`ReliableRunner` has it by default. Acts only if the Runner was made in the main thread
    of a process.

    Args:
        signals: Names of the signals.

    Raises:
        ValueError: If there is no such signal.
    """

    # Behind all others, which so have seen the iteration that is the last one.
    priority = 'LOWEST'

    def __init__(self, signals: Sequence[str] = ('SIGTERM', 'SIGUSR1', 'SIGINT')) -> None:
        unknown = [name for name in signals if name not in signal.Signals.__members__]
        if unknown:
            raise ValueError(
                f'signals={list(signals)} of PreemptionHook: there is no signal {unknown[0]!r}, '
                "expected names such as 'SIGTERM'."
            )
        self.signals = [signal.Signals[name] for name in signals]
        self._handlers: dict[signal.Signals, Any] = {}
        self._received = 0

    def before_train(self, runner: Runner) -> None:
        self._received, self._process = 0, os.getpid()
        savers = (h for h in runner.hooks if isinstance(h, SafeCheckpointHook))
        self._saver = next((saver for saver in savers if saver.can_save_interim), None)
        # One question a step, not one of each hook.
        agreed = None if self._saver is None else self._saver.take_agreement()
        self._agreed = agreed or AgreedMaximum(configured_timeout(runner.cfg))
        if threading.current_thread() is threading.main_thread():
            self._handlers = {one: signal.signal(one, self._receive) for one in self.signals}

    def finally_train(self, runner: Runner) -> None:
        """Give the signals back, however the training has ended."""
        for number in list(self._handlers):
            self._give_back(number)

    def _give_back(self, number: signal.Signals) -> None:
        handler = self._handlers.pop(number)
        # None is a handler that is not Python's.
        signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        # Loader workers are forks of this process, and end when it does.
        if os.getpid() != self._process:
            return
        self._received = number
        self._give_back(signal.Signals(number))
        if number == signal.SIGINT and is_main_process():
            print('\nstopping after this step; Ctrl-C again stops at once', flush=True)

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        # Accumulated gradients would be lost.
        if not is_end_of_step(runner):
            return
        is_due = self._saver is not None and self._saver.is_due()
        number = self._agreed(self._received + _SAVE if self._received else _SAVE * is_due)
        if self._saver is not None and number == _SAVE:
            self._saver.save_due(runner)
        elif number:
            self._stop(runner, signal.Signals(number - _SAVE))

    def _stop(self, runner: Runner, number: signal.Signals) -> None:
        done = runner.iter + 1
        saver = self._saver
        if saver is not None:
            saver.save_interim(runner)
            saver.wait_until_saved()
        if number != signal.SIGINT and is_main_process():
            saved = 'nothing is saved, as no default_hooks.checkpoint saves to a local folder'
            if saver is not None:
                saved = f'saved {runner.last_saved[0]}'
            requeued = requeue_job() if number == signal.SIGUSR1 else None
            requeued = f'; {requeued}' if requeued else ''
            runner.logger.warning(
                f'{number.name}: stopping after iteration {done}; {saved}{requeued}; '
                f'exit code {PREEMPTED}.'
            )
        # A launcher kills all processes when the first one ends.
        self._agreed.wait_for_all()
        raise Preempted(number, done)
