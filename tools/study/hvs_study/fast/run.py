"""One run of a study with ``engine='fast'``: train, measure, and resume."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Collection
from itertools import count
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from torch import nn

from hvs_mm.engine import NonFiniteError
from hvs_mm.evaluation import (
    KNNEvaluation,
    LabeledFeatures,
    extract_features,
    knn_accuracy,
    measure_health,
)
from hvs_mm.utils.atomic_write import atomic_write

from ..plan import Study
from .images import prepare_evaluation, training_images
from .trainer import Batches, FastTrainer
from .views import BatchedViews

#: Training images whose views show the health of a network.
_PROBE_IMAGES = 512
#: Where their views are drawn, instead of an epoch: no run is as long.
_PROBE_EPOCH = 2**32
#: What is shown of ``measure_health``; sizes do not change.
_HEALTH = ('student_information', 'local_student_information', 'teacher_information')
_HEALTH += ('teacher_entropy', 'teacher_mean_entropy')
_HEALTH += ('feature_std', 'feature_rank', 'projection_std', 'alignment', 'uniformity')
#: Each training has a logger of its own.
_NUMBERS = count()


class FastRun:
    """A training with its measurements, which can stop after any epoch and continue.

    Args:
        study: For the evaluation.
        cfg: The config of the run.
        start: Epoch in which its schedules begin.
        cache: Folder for the images, which runs share.

    Attributes:
        curve: As that of :class:`hvs_study.training.CurveHook`.
        health: Lists with one entry for each evaluated epoch: ``epoch`` and some of
            :func:`hvs_mm.evaluation.measure_health`.
        starts: Facts about each process that the run had.
        features: Those of bank and queries after the last epoch; ``None`` if this process has not
            trained it.
    """

    def __init__(self, study: Study, cfg: Config, start: int, cache: Path) -> None:
        # Upstream's models say how each weight is initialized.
        MMLogger.get_instance(f'fast_{next(_NUMBERS)}', log_level='WARNING')
        self.study, self.seed = study, cfg.randomness.seed
        images = training_images(cfg, cache)
        if torch.cuda.is_available():
            images = images.cuda()
        self.views = BatchedViews(cfg.train_dataloader.dataset.pipeline, images)
        self.evaluate = KNNEvaluation(cfg, study.knn)
        prepare_evaluation(self.evaluate, cache)
        batches = Batches(self.views, cfg.train_dataloader, self.seed)
        self.trainer = FastTrainer(cfg, batches, start)
        self.kept = list(cfg.model.get('keep') or self.views.num_views)
        self.curve: dict[str, list[Any]] = {
            name: [] for name in ('epoch', 'steps', 'seconds', 'cpu_seconds', 'loss', 'knn')
        }
        self.health: dict[str, list[Any]] = {'epoch': []}
        self.starts: list[dict[str, Any]] = []
        self.features: list[LabeledFeatures] | None = None

    def train(
        self, epochs: int, save: Callable[[FastRun], None], evaluated: Collection[int] = ()
    ) -> None:
        """Train up to an epoch, and call ``save`` after each.

        The network is evaluated as often as the study says, and after the epochs ``evaluated``.

        Raises:
            NonFiniteError: If a loss is NaN or infinite.
        """
        self._evaluated = {epochs, *evaluated}
        self.trainer.before_training()
        if not self.curve['epoch']:
            self._note(0.0, 0.0 if self._counts_cpu else None, None)
        while self.trainer.epoch < epochs:
            before = _clocks()
            losses = torch.stack(self.trainer.train_epoch()).double()
            wall, cpu = (now - then for now, then in zip(_clocks(), before))
            if not losses.isfinite().all():
                raise NonFiniteError(
                    f'a loss of epoch {self.trainer.epoch} is not finite: lower the learning rate.'
                )
            earlier = self.curve['cpu_seconds'][-1]
            cpu = None if earlier is None else earlier + cpu
            self._note(self.curve['seconds'][-1] + wall, cpu, losses.mean().item())
            save(self)

    @property
    def _counts_cpu(self) -> bool:
        return not torch.cuda.is_available()

    def _note(self, seconds: float, cpu: float | None, loss: float | None) -> None:
        """Add an entry to the curve."""
        trainer, epoch = self.trainer, self.trainer.epoch
        knn = None
        if epoch % self.study.interval == 0 or epoch in self._evaluated:
            self.features = evaluated_features(trainer.model, self.evaluate)
            (k,) = self.study.knn.k
            found = knn_accuracy(*self.features, [k], self.study.knn.temperature)
            knn = found.accuracy[k].top1
            self._note_health(epoch)
        point = (epoch, trainer.step, seconds, cpu, loss, knn)
        for values, value in zip(self.curve.values(), point):
            values.append(value)
        shown = '' if knn is None else f', k-NN {knn:.2f} %'
        print(f'after epoch {epoch}: {seconds:.1f} s of training{shown}', flush=True)

    def _note_health(self, epoch: int) -> None:
        images = torch.arange(min(_PROBE_IMAGES, len(self.views.images)))
        batch = self.views.draw(images, [self.seed, _PROBE_EPOCH, 0], self.kept)
        found = measure_health(self.trainer.model, [batch], len(images))
        small = [view for view in batch['inputs'] if view.shape != batch['inputs'][0].shape]
        if small:
            of_small = measure_health(self.trainer.model, [{**batch, 'inputs': small}], len(images))
            found |= {f'local_{name}': value for name, value in of_small.items()}
        self.health['epoch'].append(epoch)
        for name in _HEALTH:
            if name in found:
                self.health.setdefault(name, []).append(round(found[name], 5))

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        state = {'trainer': self.trainer.state_dict(), 'curve': self.curve, 'health': self.health}
        with atomic_write(path) as unfinished:
            torch.save({**state, 'starts': self.starts}, unfinished)

    def load(self, path: Path) -> None:
        """Continue from a checkpoint."""
        state = torch.load(path, map_location='cpu', weights_only=True)
        self.trainer.load_state_dict(state['trainer'])
        self.curve, self.health, self.starts = state['curve'], state['health'], state['starts']

    def selection(self) -> dict[str, Any] | None:
        """Lists by ``epoch`` of what ``SelectionStatsHook`` shows; ``None`` if nothing."""
        entries = self.trainer.shown
        if not entries:
            return None
        # Histograms and the shares of single views would make up half of a line.
        names = dict.fromkeys(
            name
            for entry in entries
            for name in entry
            if name.startswith('selection/') and '_bin_' not in name and 'kept_view' not in name
        )
        found = {'epoch': [entry['epoch'] for entry in entries]}
        for name in names:
            values = [entry.get(name) for entry in entries]
            short = name.removeprefix('selection/')
            found[short] = [value if value is None else round(value, 4) for value in values]
        return found


def trunk_checkpoint(
    study: Study, cfg: Config, fork: int, forks: set[int], folder: Path, cache: Path
) -> Path:
    """The checkpoint of a trunk after ``fork`` epochs, which is trained so far if it is missing.

    Args:
        cfg: The config of the trunk, see :func:`hvs_study.config.resolve_trunk`.
        forks: Epochs whose checkpoints are kept for other runs.
        folder: Folder of the trunk. Processes that need it at the same time wait for each other.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / 'lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = folder / f'epoch_{fork}.pth'
        if path.is_file():
            return path
        run = FastRun(study, cfg, start=fork, cache=cache)
        earlier = [e for e in range(1, fork) if (folder / f'epoch_{e}.pth').is_file()]
        if earlier:
            run.load(folder / f'epoch_{earlier[-1]}.pth')

        def save(run: FastRun) -> None:
            epoch = run.trainer.epoch
            if epoch in forks:
                run.save(folder / f'epoch_{epoch}.pth')

        run.train(fork, save, forks)
        return path


def evaluated_features(model: nn.Module, evaluate: KNNEvaluation) -> list[LabeledFeatures]:
    """The features of bank and queries of an evaluation."""
    network = evaluate.settings.network
    return [extract_features(model, loader, network) for loader in evaluate.loaders]


def _clocks() -> tuple[float, float]:
    """Seconds of the wall clock and of the process."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter(), time.process_time()
