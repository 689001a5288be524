"""Accuracy over the epochs and over the time that training took."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

#: Its state, in the hub and so in checkpoints.
_CURVE, _STARTS = 'study_curve', 'study_starts'


@dataclass
class Curve:
    """What a run has come to, by epochs done; all lists are of one length.

    Attributes:
        epoch: Epochs done, 0 first.
        steps: Iterations done.
        images: Images seen, each once however many views of it were drawn.
        seconds: That training took, without evaluation and checkpoints.
        cpu_seconds: Of the process meanwhile, over all its threads; ``None`` where this would miss
            something: with a GPU, or if the loader has processes of its own.
        loss: Mean of the epoch over its iterations; ``None`` before training, and where no
            iteration had a finite one.
        knn: Top-1 accuracy of the k-NN classifier in percent; ``None`` where it was not evaluated.
    """

    epoch: list[int] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    images: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float | None] = field(default_factory=list)
    loss: list[float | None] = field(default_factory=list)
    knn: list[float | None] = field(default_factory=list)

    def add(self, **values: Any) -> None:
        """Add a point."""
        for name, value in values.items():
            getattr(self, name).append(value)


class CurveHook(Hook):
    """Measures training alone, and evaluates the features before it and between epochs.

    Acts at the start and the end of every epoch. The state is in checkpoints: a run that goes on
    goes on with its clocks and its curve; the time that was lost with a process does not count.

    Args:
        evaluate: Gives the accuracy of a model in percent and leaves it as it was.
        interval: Epochs from one evaluation to the next. The last one is always evaluated.
        start: What to remember of this process, of which a run that has broken off has several.
    """

    # The clock stops ahead of all that other hooks do at the end of an epoch, and the checkpoint
    # that is saved there holds the curve.
    priority = 'HIGHEST'

    def __init__(
        self,
        evaluate: Callable[[nn.Module], float],
        interval: int = 1,
        start: dict[str, Any] | None = None,
    ) -> None:
        self._evaluate = evaluate
        self.interval = interval
        self.curve = Curve()
        #: Of all processes that the run had.
        self.starts = [start or {}]

    def before_train(self, runner: Runner) -> None:
        info = runner.message_hub.runtime_info
        saved = info.get(_CURVE) if runner.iter else None
        if saved:
            self.starts = [*info.get(_STARTS, []), *self.starts]
        runner.message_hub.update_info(_STARTS, self.starts)
        has_workers = runner.train_dataloader.num_workers > 0
        self._counts_cpu = not has_workers and not torch.cuda.is_available()
        if saved:
            self.curve = Curve(**saved)
        else:
            self.curve = Curve()
            self._add(runner, 0, 0, 0, 0.0, 0.0, None, self._evaluate(runner.model))

    def before_train_epoch(self, runner: Runner) -> None:
        self._losses: list[Tensor] = []
        self._images = 0
        self._started = _clocks()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        self._images += len(data_batch['data_samples'])
        loss = (outputs or {}).get('loss')
        # FiniteStepHook takes those out that do not count.
        if isinstance(loss, Tensor):
            self._losses.append(loss.detach())

    def after_train_epoch(self, runner: Runner) -> None:
        wall, cpu = (now - then for now, then in zip(_clocks(), self._started))
        epoch, curve = runner.epoch + 1, self.curve
        loss = torch.stack(self._losses).double().mean().item() if self._losses else None
        is_due = epoch % self.interval == 0 or self.is_last_train_epoch(runner)
        self._add(
            runner,
            epoch,
            runner.iter,
            curve.images[-1] + self._images,
            curve.seconds[-1] + wall,
            None if curve.cpu_seconds[-1] is None else curve.cpu_seconds[-1] + cpu,
            loss,
            self._evaluate(runner.model) if is_due else None,
        )

    def _add(
        self,
        runner: Runner,
        epoch: int,
        steps: int,
        images: int,
        seconds: float,
        cpu_seconds: float | None,
        loss: float | None,
        knn: float | None,
    ) -> None:
        self.curve.add(
            epoch=epoch,
            steps=steps,
            images=images,
            seconds=seconds,
            cpu_seconds=cpu_seconds if self._counts_cpu else None,
            loss=loss,
            knn=knn,
        )
        runner.message_hub.update_info(_CURVE, asdict(self.curve))
        shown = '' if knn is None else f', k-NN {knn:.2f} %'
        runner.logger.info(f'after epoch {epoch}: {seconds:.1f} s of training{shown}')


def _clocks() -> tuple[float, float]:
    """Seconds of the wall clock and of the process."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter(), time.process_time()
