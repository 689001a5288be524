"""The k-NN accuracy during pretraining."""

from __future__ import annotations

import time
from dataclasses import dataclass

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ..utils.arguments import check_share, check_whole
from ..utils.console import log_to_console
from .features import choose_network
from .knn_evaluation import KNNEvaluation, KNNSettings


@HOOKS.register_module()
@dataclass(eq=False)
class KNNHook(KNNSettings, Hook):
    """Logs the k-NN accuracy of the features.

    Acts after every ``interval`` epochs and after the last one, and before the first one if asked
    to. Wrong settings and missing images raise before training starts. Weights, buffers, modes and
    random states stay as they are: the run trains as it would without the hook.

    ``knn/top1_k20`` and the like, in percent, go into the log file, the visualizer with its JSON
    log, and MMEngine's ``MessageHub``.

    Attributes:
        interval: Epochs between two evaluations.
        at_start: Evaluate before training, too.
        warn_drop: Warn, once, when the top-1 accuracy has fallen by more than this share of the one
            before training, which needs ``at_start``; None never warns.

    The other settings, and the errors for wrong ones, are those of :class:`KNNSettings`.
    """

    interval: int = 10
    at_start: bool = False
    warn_drop: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole('interval', self.interval, hint='the epochs between evaluations.')
        if self.warn_drop is not None:
            check_share('warn_drop', self.warn_drop, hint='how far accuracy may fall.')
            if not self.at_start:
                raise ValueError(
                    f'warn_drop={self.warn_drop} of KNNHook compares with the accuracy before '
                    'training: set at_start=True, or warn_drop=None.'
                )

    def before_train(self, runner: Runner) -> None:
        self._network = choose_network(runner.model, self.network)
        self._evaluate = KNNEvaluation(runner.cfg, self)
        if self.at_start:
            self._log(runner, runner.epoch)

    def after_train_epoch(self, runner: Runner) -> None:
        if self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(runner):
            self._log(runner, runner.epoch + 1)

    def _log(self, runner: Runner, epoch: int) -> None:
        started = time.monotonic()
        result = self._evaluate(runner.model)
        scalars = {
            f'knn/{name}_k{k}': value
            for k, accuracy in result.accuracy.items()
            for name, value in accuracy._asdict().items()
        }
        runner.message_hub.update_scalars(scalars)
        runner.visualizer.add_scalars(
            {**scalars, 'epoch': epoch, 'iter': runner.iter},
            step=runner.iter,
            file_path=f'{runner.timestamp}.json',
        )
        numbers = '  '.join(f'{name}: {value:.2f}' for name, value in scalars.items())
        seconds = f'{time.monotonic() - started:.0f} s'
        top1 = ' '.join(f'{accuracy.top1:.1f}' for accuracy in result.accuracy.values())
        log_to_console(
            runner.logger,
            f'k-NN after epoch {epoch} ({self._network}, {result.num_bank} images in the bank, '
            f'{result.num_queries} queries)  {numbers}  time: {seconds}',
            short=f'k-NN after epoch {epoch}: top-1 {top1} % '
            f'(k={" ".join(map(str, result.accuracy))}, {self._network}), {seconds}',
        )
        if self.warn_drop is not None:
            self._warn(runner, epoch, next(iter(result.accuracy)), self.warn_drop)

    def _warn(self, runner: Runner, epoch: int, k: int, drop: float) -> None:
        # A resumed run has the history of its checkpoint.
        history = runner.message_hub.get_scalar(f'knn/top1_k{k}').data[0]
        first, last = history[0], history[-1]
        limit = (1 - drop) * first
        if last < limit and not (history[:-1] < limit).any():
            runner.logger.warning(
                f'k-NN accuracy fell from {first:.1f} % before training to {last:.1f} % after '
                f'epoch {epoch}: the backbone loses its features. Lower its learning rate '
                '(optim_wrapper.paramwise_cfg.backbone_lr_mult), freeze it for longer '
                '(freeze_share of GradientHook), or stop here and use an earlier checkpoint.'
            )
