"""The k-NN accuracy during pretraining."""

from __future__ import annotations

import time
from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ..utils.arguments import check_whole
from ..utils.console import log_to_console
from .features import choose_network
from .knn_evaluation import Images, KNNEvaluation, KNNSettings


@HOOKS.register_module()
class KNNHook(Hook):
    """Logs the k-NN accuracy of the features.

    Acts after every ``interval`` epochs and after the last one, and before the first one if asked
    to. Wrong settings and missing images raise before training starts. Weights, buffers, modes and
    random states stay as they are: the run trains as it would without the hook.

    ``knn/top1_k20`` and the like, in percent, go into the log file, the visualizer with its JSON
    log, and MMEngine's ``MessageHub``.

    Args:
        interval: Epochs between two evaluations.
        at_start: Evaluate before training, too.
        bank: Images of known class. This and all that follow are explained in
            :class:`KNNSettings`.

    Raises:
        TypeError: If a k is no int.
        ValueError: If a setting is out of range.
    """

    def __init__(
        self,
        interval: int = 10,
        at_start: bool = False,
        bank: Images = None,
        queries: Images = None,
        k: int | Sequence[int] = (10, 20, 100, 200),
        temperature: float = 0.07,
        network: str | None = None,
        batch_size: int = 128,
        num_workers: int | None = None,
    ) -> None:
        self.interval = check_whole('interval', interval, hint='the epochs between evaluations.')
        self.at_start = at_start
        self.settings = KNNSettings(bank, queries, k, temperature, network, batch_size, num_workers)

    def before_train(self, runner: Runner) -> None:
        self._network = choose_network(runner.model, self.settings.network)
        self._evaluate = KNNEvaluation(runner.cfg, self.settings)
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
