"""The ends of a training run on the console: its result, or where it stopped."""

from __future__ import annotations

import os
import os.path as osp
import shlex
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import FrameType, TracebackType

from mmengine.dist import is_main_process
from mmengine.logging import MMLogger
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner

from ...utils.console import forget_shown, print_held_back, quiet_logger, short_warnings
from ..hooks.console_hook import duration, numeric, plural, position
from ..hooks.preemption_hook import Preempted
from .checkpoint_paths import POINTER

#: Exit code of a command that Ctrl-C (SIGINT) ends, as shells give it.
_INTERRUPTED = 128 + signal.SIGINT


class TrainingSession:
    """A command that trains, from its start to its last line.

    Within it Ctrl-C ends the process with the exit code 130; in a training with
    :class:`PreemptionHook` the first one saves before, and the second one does not. Instead of a
    traceback the first process says where training stopped, what is lost, and with which command
    it continues; worker processes that are forked in it ignore Ctrl-C and end with their parent.
    Warnings of Python take one line. Use it in the main thread.

    Args:
        resume_command: Continues the run from its last checkpoint. ``{work_dir}`` stands for the
            folder of the run.
        start_command: Starts the run again if there is no checkpoint.
        verbose: Let all warnings through as they are.

    Examples:
        with TrainingSession('python tools/train.py config.py --resume') as session:
            session.runner = build_runner(cfg)
            session.runner.train()
            session.finish('python tools/eval_knn.py {config} {checkpoint}')
    """

    def __init__(
        self, resume_command: str, start_command: str | None = None, verbose: bool = False
    ) -> None:
        self.resume_command = resume_command
        self.start_command = start_command
        self.verbose = verbose
        #: Set it as soon as there is one.
        self.runner: Runner | None = None

    def __enter__(self) -> TrainingSession:
        self._started = time.monotonic()
        self._process = os.getpid()
        self._handler = signal.signal(signal.SIGINT, self._interrupt)
        self._stack = ExitStack()
        if self.verbose:
            print_held_back()
        else:
            forget_shown()
            # Checks before the Runner has a logger of its own use this one.
            quiet_logger(MMLogger.get_current_instance())
            self._stack.enter_context(short_warnings())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()
        if isinstance(error, Preempted) and is_main_process():
            print('\n' + '\n'.join(self._stopped(error.done)), flush=True)
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            # A second Ctrl-C ends the process at once, without a traceback either.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            if is_main_process():
                print('\n' + '\n'.join(self._stopped()), flush=True)
            sys.exit(_INTERRUPTED)
        signal.signal(signal.SIGINT, self._handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        # The terminal signals all processes. Workers end when their parent does.
        if os.getpid() == self._process:
            raise KeyboardInterrupt

    def _stopped(self, done: int | None = None) -> list[str]:
        """Where the run stopped, and how it continues."""
        runner = self.runner
        if runner is None or not isinstance(runner._train_loop, BaseLoop):
            return ['stopped before training began']
        done = runner.iter if done is None else done
        where = f'stopped at {position(runner, done)}'
        saved = getattr(runner, 'last_saved', None)
        if saved is not None:
            path, saved_steps = saved
            # A step that was not finished counts in neither, unless it was saved in its last hook.
            lost = max(done - saved_steps, 0)
            lost = f'lost since then: {plural(lost, "step")}' if lost else 'nothing is lost'
            return [
                f'{where}; continue with --resume:',
                f'  {self._fill(self.resume_command)}',
                f'last checkpoint: {path}; {lost}',
            ]
        if Path(runner.work_dir, POINTER).is_file() and not hasattr(runner, 'last_saved'):
            # MMEngine's own Runner does not say which steps are in its last checkpoint.
            return [f'{where}; continue with --resume:', f'  {self._fill(self.resume_command)}']
        return [
            f'{where}; no checkpoint was saved yet. Start again with:',
            f'  {self._fill(self.start_command or self.resume_command)}',
        ]

    def finish(self, next_command: str) -> None:
        """Print what came out of the run, where it is, and the next command.

        Args:
            next_command: ``{config}``, ``{checkpoint}`` and ``{work_dir}`` in it are filled in.
        """
        if not is_main_process():
            return
        runner: Runner = self.runner
        took = duration(time.monotonic() - self._started)
        print(f'done in {took}: {", ".join(_results(runner))}')
        checkpoint = runner.message_hub.get_info('last_ckpt')
        if checkpoint is None:
            print('no checkpoint was saved: the config has no default_hooks.checkpoint')
        else:
            print(f'checkpoint: {checkpoint}')
        print(f'log: {osp.join(runner.log_dir, runner.timestamp)}.log')
        if checkpoint is not None:
            print(f'next: {self._fill(next_command)}', flush=True)

    def _fill(self, command: str) -> str:
        runner: Runner = self.runner
        config = osp.basename(runner.cfg.filename or f'{runner.timestamp}.py')
        paths = {
            'work_dir': runner.work_dir,
            'config': osp.join(runner.work_dir, config),
            'checkpoint': runner.message_hub.get_info('last_ckpt') or '',
        }
        for name, path in paths.items():
            if path:
                relative = osp.relpath(path)
                path = path if relative.startswith(os.pardir) else relative
            command = command.replace(f'{{{name}}}', shlex.quote(path))
        return command


def _results(runner: Runner) -> list[str]:
    """How long the run was, and the last numbers of training and evaluation."""
    by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
    length = (runner.max_epochs, 'epoch') if by_epoch else (runner.max_iters, 'step')
    results = [plural(*length)]
    scalars = runner.message_hub.log_scalars
    if 'train/loss' in scalars:
        loss = scalars['train/loss'].mean(runner.log_processor.window_size)
        results.append(f'final loss {loss:.3f}')
    knn = {name: b.current() for name, b in scalars.items() if name.startswith('knn/top1_k')}
    if knn:
        best = max(knn, key=knn.__getitem__)
        k = best.removeprefix('knn/top1_k')
        results.append(f'k-NN top-1 {knn[best]:.1f} % (k={k})')
    metrics = {
        name.removeprefix('val/'): buffer.current()
        for name, buffer in scalars.items()
        if name.startswith('val/') and not name.endswith('time')
    }
    return results + [f'{key} {value:.4g}' for key, value in numeric(metrics).items()]
