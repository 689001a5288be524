"""The k-NN accuracy during pretraining."""

from __future__ import annotations

import time
from dataclasses import dataclass

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ..utils.arguments import check_whole
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

    The other settings, and the errors for wrong ones, are those of :class:`KNNSettings`.
    """

    interval: int = 10
    at_start: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole('interval', self.interval, hint='the epochs between evaluations.')

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
        runner.logger.info(
            f'k-NN after epoch {epoch} ({self._network}, {result.num_bank} images in the bank, '
            f'{result.num_queries} queries)  {numbers}  time: {time.monotonic() - started:.0f} s'
        )
