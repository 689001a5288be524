"""One run of a study: train, evaluate, and say what came of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..engine import preflight
from ..engine.hooks.checkpoint_trust_hook import trust_checkpoints
from ..engine.hooks.equal_batches_hook import EqualBatchesHook, check_batches
from ..engine.runners.building import build_runner
from ..evaluation.features import extract_features
from ..evaluation.knn_evaluation import KNNEvaluation
from .curve_hook import CurveHook
from .linear import LinearResult, linear_accuracy
from .record import (
    any_dirty,
    describe_code,
    describe_curve,
    describe_device,
    describe_machine,
    describe_selection,
    finite,
)
from .resolved_config import config_hash, resolve_config
from .study_file import PlannedRun, Study


def run_folder(work_dir: str | Path, run: PlannedRun, digest: str) -> Path:
    """Where a run writes: with other settings it would have nothing to go on from.

    Args:
        work_dir: Of the study.
        run: One of its runs.
        digest: Hash of its config.
    """
    return Path(work_dir) / f'{run.id}-{digest[:8]}'


def perform_run(
    study: Study,
    run: PlannedRun,
    work_dir: str | Path,
    options: Mapping[str, Any],
    jobs: int,
    trust: bool = False,
) -> dict[str, Any]:
    """Train one run, from its newest checkpoint if it has broken off, and evaluate it.

    Args:
        study: Of the run.
        run: What to do.
        work_dir: Of the study; the run has a folder in it.
        options: Overrides of settings by dotted keys.
        jobs: How many runs this machine makes at a time, for the record.
        trust: Take checkpoints even if reading them can run code.

    Returns:
        The record, see docs/studies.md.

    Raises:
        StudyError: If a setting does not exist, or the config does not fit.
        ValueError: And the like, whatever the checks before a training find.
    """
    torch.set_num_threads(study.threads)
    started = datetime.now(timezone.utc)
    # Before training: what is changed while it runs is not what it runs.
    code = describe_code()
    start = {
        'started': started.isoformat(timespec='seconds'),
        'revision': code['revision'],
        'dirty': code['dirty'],
        'device': describe_device(),
        'machine': describe_machine(),
        'jobs': jobs,
    }
    cfg = resolve_config(study, run, options)
    digest = config_hash(cfg, study)
    cfg.work_dir = str(run_folder(work_dir, run, digest))
    cfg.resume = True
    if trust:
        trust_checkpoints(cfg)
    preflight(cfg, trust)
    k = study.evaluation.knn.k[0]
    # Epoch by epoch the same images.
    evaluate = KNNEvaluation(cfg, study.evaluation.knn, in_memory=True)
    hook = CurveHook(
        lambda model: evaluate(model).accuracy[k].top1, study.evaluation.interval, start
    )
    runner = build_runner(cfg)
    runner.register_hook(EqualBatchesHook())
    runner.register_hook(hook)
    check_batches(runner.train_loop.dataloader)
    runner.train()
    linear = _evaluate_linear(evaluate, runner.model, study.evaluation.linear_c)
    curve = hook.curve
    return finite(
        {
            'study': study.name,
            'run': run.id,
            'method': run.method,
            'arm': run.arm,
            'epochs': run.epochs,
            'seed': run.seed,
            'config_hash': digest,
            **code,
            # Of any of the processes: what was changed for one of them is in the weights.
            'dirty': any_dirty(hook.starts),
            'device': start['device'],
            'machine': start['machine'],
            'threads': study.threads,
            'jobs': jobs,
            'started': hook.starts[0]['started'],
            'starts': hook.starts,
            'seconds': round(curve.seconds[-1], 2),
            'cpu_seconds': None
            if curve.cpu_seconds[-1] is None
            else round(curve.cpu_seconds[-1], 2),
            'steps': curve.steps[-1],
            'images': curve.images[-1],
            'skipped_steps': runner.message_hub.get_info('skipped_steps') or 0,
            'knn': round(curve.knn[-1], 3),
            'linear': None if linear is None else round(linear.accuracy, 3),
            'linear_converged': None if linear is None else linear.converged,
            'curve': describe_curve(curve),
            'selection': describe_selection(cfg.work_dir),
        }
    )


def _evaluate_linear(
    evaluation: KNNEvaluation, model: nn.Module, c: float | None
) -> LinearResult | None:
    if c is None:
        return None
    bank, queries = (
        extract_features(model, loader, evaluation.settings.network)
        for loader in evaluation.loaders
    )
    return linear_accuracy(bank, queries, c)


def remove_checkpoints(folder: Path) -> None:
    """Remove what a recorded run does not need any more.

    Args:
        folder: Of the run.
    """
    for path in [*folder.glob('epoch_*.pth'), folder / 'last_checkpoint']:
        path.unlink(missing_ok=True)


def limit_threads(environment: Mapping[str, str], threads: int) -> dict[str, str]:
    """The environment of a process that computes with so many threads, whatever with."""
    names = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS')
    return {**environment, **dict.fromkeys(names, str(threads))}


def available_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))
