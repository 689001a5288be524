"""One run of a study: train, evaluate, and record the result."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from hvs_mm.engine import (
    EqualBatchesHook,
    build_runner,
    check_batches,
    preflight,
    trust_checkpoints,
)
from hvs_mm.evaluation import KNNEvaluation, LabeledFeatures

from . import record
from .caching import cache_images
from .config import config_hash, describe_settings
from .fast.images import prepare_evaluation
from .fast.run import FastRun, evaluated_features, trunk_checkpoint
from .plan import PlannedRun, Study

#: More than the solver takes on features of some hundred dimensions.
MAX_ITERATIONS = 5000
#: Keys of the state of the hook in the message hub, and so in checkpoints.
_CURVE, _STARTS = 'study_curve', 'study_starts'
_COLUMNS = ('epoch', 'steps', 'seconds', 'cpu_seconds', 'loss', 'knn')


class CurveHook(Hook):
    """Measures training alone, and evaluates the features before it and between epochs.

    Its state is in checkpoints: a run that resumes keeps its clocks and its curve, without the
    time that was lost with a process.

    Args:
        evaluate: Returns the accuracy of a model in percent and leaves the model unchanged.
        interval: Epochs from one evaluation to the next. The last epoch is always evaluated.
        start: Facts to remember about this process; a resumed run has those of several.

    Attributes:
        curve: Lists with one entry for each finished epoch, the first before training: ``epoch``,
            ``steps``, ``seconds`` of training, ``cpu_seconds`` of the process over all its threads
            (``None`` with a GPU or loader processes, whose work it would miss), ``loss`` (mean over
            the iterations of the epoch with a finite one) and ``knn`` (top-1 accuracy in percent).
            ``None`` stands for values that were not measured.
        starts: ``start`` of every process that the run had.
    """

    # The clock stops before other hooks act at the end of an epoch, and the checkpoint that is
    # saved there holds the curve.
    priority = 'HIGHEST'

    def __init__(
        self,
        evaluate: Callable[[nn.Module], float],
        interval: int = 1,
        start: dict[str, Any] | None = None,
    ) -> None:
        self._evaluate = evaluate
        self.interval = interval
        self.curve: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
        self.starts = [start or {}]

    def before_train(self, runner: Runner) -> None:
        info = runner.message_hub.runtime_info
        has_workers = runner.train_dataloader.num_workers > 0
        self._counts_cpu = not has_workers and not torch.cuda.is_available()
        if runner.iter and _CURVE in info:
            self.curve = {name: list(info[_CURVE][name]) for name in _COLUMNS}
            self.starts = [*info.get(_STARTS, []), *self.starts]
        else:
            self._add(runner, 0, 0, 0.0, 0.0, None, self._evaluate(runner.model))
        runner.message_hub.update_info(_STARTS, self.starts)

    def before_train_epoch(self, runner: Runner) -> None:
        self._losses: list[Tensor] = []
        self._started = _clocks()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        loss = (outputs or {}).get('loss')
        # FiniteStepHook has removed those that do not count.
        if isinstance(loss, Tensor):
            self._losses.append(loss.detach())

    def after_train_epoch(self, runner: Runner) -> None:
        wall, cpu = (now - then for now, then in zip(_clocks(), self._started))
        last = {name: values[-1] for name, values in self.curve.items()}
        epoch = runner.epoch + 1
        loss = torch.stack(self._losses).double().mean().item() if self._losses else None
        is_due = epoch % self.interval == 0 or self.is_last_train_epoch(runner)
        knn = self._evaluate(runner.model) if is_due else None
        seconds, cpu_seconds = last['seconds'] + wall, (last['cpu_seconds'] or 0.0) + cpu
        self._add(runner, epoch, runner.iter, seconds, cpu_seconds, loss, knn)

    def _add(self, runner: Runner, *point: Any) -> None:
        new = dict(zip(_COLUMNS, point, strict=True))
        if not self._counts_cpu or None in self.curve['cpu_seconds']:
            new['cpu_seconds'] = None
        for name, value in new.items():
            self.curve[name].append(value)
        runner.message_hub.update_info(_CURVE, self.curve)
        shown = '' if new['knn'] is None else f', k-NN {new["knn"]:.2f} %'
        runner.logger.info(f'after epoch {new["epoch"]}: {new["seconds"]:.1f} s of training{shown}')


def _clocks() -> tuple[float, float]:
    """Seconds of the wall clock and of the process."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter(), time.process_time()


def run_folder(work_dir: str | Path, run: PlannedRun, digest: str) -> Path:
    """Folder of a run: one for each hash of its config, since other settings cannot resume it."""
    return Path(work_dir) / f'{run.id}-{digest[:8]}'


def perform_run(
    study: Study,
    run: PlannedRun,
    cfg: Config,
    jobs: int,
    trust: bool,
    trunk: Config | None = None,
) -> dict[str, Any]:
    """Train one run, from its newest checkpoint if it broke off, and evaluate it.

    Args:
        cfg: The config of the run, with its work dir.
        trunk: The config of what it forks from.
        jobs: Runs at a time on this machine, for the record.
        trust: Accept checkpoints even if reading them can run code.

    Returns:
        The record, see docs/studies.md.
    """
    torch.set_num_threads(study.threads)
    # Before training: changes that are made while it runs do not affect it.
    start = record.describe_start(jobs)
    # Before the config says that checkpoints are trusted, which changes no result.
    digest = config_hash(cfg, study, trunk)
    cfg.resume = True
    if trust:
        trust_checkpoints(cfg)
    preflight(cfg, trust)
    train = _train_fast if study.engine == 'fast' else _train_with_runner
    trained = train(study, run, cfg, trunk, start)
    features = trained.features or evaluated_features(trained.model, trained.evaluate)
    linear, converged = linear_accuracy(*features, study.linear_c)
    transfer = transfer_accuracies(study, cfg, trained.model) if study.transfer else {}
    curve = record.describe_curve(trained.curve)
    last = {name: values[-1] for name, values in curve.items()}
    result = {
        'study': study.name,
        'run': run.id,
        **asdict(run),
        'config_hash': digest,
        'plan': study.plan,
        'planned_seeds': sum(replace(one, seed=run.seed) == run for one in study.runs),
        'settings': describe_settings(cfg),
        **start,
        # Of all its processes: the changes for any of them are in the weights.
        'dirty': record.any_dirty(trained.starts),
        'started': trained.starts[0]['started'],
        'starts': trained.starts,
        'versions': record.describe_versions(),
        'threads': study.threads,
        **{name: last[name] for name in ('seconds', 'cpu_seconds', 'steps', 'knn')},
        'process_cpu_seconds': round(time.process_time(), 2),
        'linear': round(linear, 3),
        'linear_converged': converged,
        **({'transfer': transfer} if transfer else {}),
        'curve': curve,
        **trained.others,
    }
    return record.finite(result)


class _Trained(NamedTuple):
    """A trained model, and what was measured along the way."""

    model: nn.Module
    evaluate: KNNEvaluation
    curve: dict[str, list[Any]]
    starts: list[dict[str, Any]]
    #: Entries of the line that depend on the engine.
    others: dict[str, Any]
    #: Of bank and queries, if they are known already.
    features: list[LabeledFeatures] | None = None


def _train_with_runner(
    study: Study, run: PlannedRun, cfg: Config, trunk: None, start: dict[str, Any]
) -> _Trained:
    # The images are the same in every epoch.
    evaluate = KNNEvaluation(cfg, study.knn)
    cache_images(evaluate)
    (k,) = study.knn.k
    hook = CurveHook(lambda model: evaluate(model).accuracy[k].top1, study.interval, start)
    runner = build_runner(cfg)
    runner.register_hook(EqualBatchesHook())
    runner.register_hook(hook)
    check_batches(runner.train_loop.dataloader)
    runner.train()
    others = {
        'skipped_steps': runner.message_hub.get_info('skipped_steps') or 0,
        'selection': record.describe_selection(cfg.work_dir),
    }
    return _Trained(runner.model, evaluate, hook.curve, hook.starts, others)


def _train_fast(
    study: Study, run: PlannedRun, cfg: Config, trunk: Config | None, start: dict[str, Any]
) -> _Trained:
    folder = Path(cfg.work_dir)
    cache, state = folder.parent / 'images', folder / 'state.pth'
    training = FastRun(study, cfg, run.fork, cache)
    if state.is_file():
        training.load(state)
    elif trunk is not None:
        forks = {o.fork for o in study.runs if (o.method, o.seed) == (run.method, run.seed)}
        name = f'{run.method}-s{run.seed}-{config_hash(trunk, study)[:8]}'
        training.load(
            trunk_checkpoint(study, trunk, run.fork, forks, folder.parent / 'trunks' / name, cache)
        )
    training.starts.append(start)
    training.train(cfg.train_cfg.max_epochs, lambda one: one.save(state))
    others = {
        'skipped_steps': 0,
        'selection': training.selection(),
        'health': training.health,
        'images': len(training.views.images),
    }
    return _Trained(
        training.trainer.model,
        training.evaluate,
        training.curve,
        training.starts,
        others,
        training.features,
    )


def transfer_evaluations(study: Study, cfg: Config) -> dict[str, KNNEvaluation]:
    """The other images of a study, prepared as those of the run.

    Raises:
        ValueError: If images are missing or have no labels.
    """
    found = {}
    for name, one in study.transfer.items():
        settings = replace(study.knn, bank=one.bank, queries=one.queries)
        try:
            found[name] = KNNEvaluation(cfg, settings)
        except ValueError as error:
            raise ValueError(f'evaluation.transfer.{name}.{error}') from error
    return found


def transfer_accuracies(study: Study, cfg: Config, model: nn.Module) -> dict[str, float]:
    """Linear accuracies in percent on the other images of a study, by their names."""
    found = {}
    for name, evaluate in transfer_evaluations(study, cfg).items():
        prepare_evaluation(evaluate, Path(cfg.work_dir).parent / 'images')
        features = evaluated_features(model, evaluate)
        found[name] = round(linear_accuracy(*features, study.transfer[name].linear_c)[0], 3)
    return found


def linear_accuracy(
    bank: LabeledFeatures, queries: LabeledFeatures, c: float, max_iterations: int = MAX_ITERATIONS
) -> tuple[float, bool]:
    """Fit scikit-learn's ``LogisticRegression`` to features (N, D) and classify others (M, D).

    Every feature is standardized with mean and deviation over the bank, without which ``c``, the
    inverse regularization strength, would depend on the scale of a network.

    Returns:
        Accuracy on the queries in percent, and whether the solver converged.
    """
    # run.py says how to install it.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=max_iterations))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        classifier.fit(bank.features.double().numpy(), bank.labels.numpy())
    accuracy = classifier.score(queries.features.double().numpy(), queries.labels.numpy())
    converged = not any(issubclass(one.category, ConvergenceWarning) for one in caught)
    return 100 * float(accuracy), converged
