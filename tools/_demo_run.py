"""A run of the demo: train, evaluate, and measure what the trained network selects.

A module of its own, so that the processes of the demo can send each other what is in it.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS
from torch import nn

from hvs_mm.datasets import draw_examples
from hvs_mm.evaluation import KNNEvaluation, KNNSettings
from hvs_mm.selection.statistics.choice import image_statistics
from hvs_mm.visualization import draw_examples_panel, select_examples

NUM_NEIGHBORS = 20
#: Images whose selection is measured after training.
NUM_INSPECTED = 1024
NUM_PICTURED = 4
#: What is measured of the selection, see ``image_statistics``.
MEASURED = ('iou_kept', 'iou_all', 'iou_gap', 'lowest_iou', 'lowest_iou_chance', 'score_gap')


class QuietRunner(Runner):
    """Keeps the log out of the terminal, which shows a line an epoch instead."""

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.setLevel(logging.ERROR)
        return logger


class EpochLineHook(Hook):
    """Prints a line after every epoch that begins with the name of the run."""

    def __init__(self, name: str) -> None:
        self.name = name

    def before_train(self, runner: Runner) -> None:
        self.started = time.monotonic()

    def after_train_epoch(self, runner: Runner) -> None:
        seconds = time.monotonic() - self.started
        loss = runner.message_hub.get_scalar('train/loss').mean(10)
        epoch = f'{runner.epoch + 1}/{runner.max_epochs}'
        print(f'{self.name:10}  epoch {epoch}  {seconds:4.0f} s  loss {loss:.3f}', flush=True)


@dataclass
class Outcome:
    """A trained run; accuracies in percent.

    Attributes:
        seconds: Duration of the training, without the evaluations.
        cpu_seconds: CPU time of it, which other programs on the machine do not change much.
        statistics: For each of ``MEASURED`` the values of N images, (N,); empty without selection.
    """

    before: float
    after: float
    seconds: float
    cpu_seconds: float
    num_queries: int
    log: Path
    checkpoint: Path
    statistics: dict[str, np.ndarray] = field(default_factory=dict)


def train(name: str, cfg: Config) -> Outcome:
    """Train a run in this process, and evaluate the network before and after."""
    runner = QuietRunner.from_cfg(cfg)
    runner.register_hook(EpochLineHook(name), priority='VERY_LOW')
    runner.model.init_weights()
    evaluate = KNNEvaluation(cfg, KNNSettings(k=NUM_NEIGHBORS, batch_size=256, num_workers=0))
    before = evaluate(runner.model).accuracy[NUM_NEIGHBORS].top1
    started, cpu_started = time.monotonic(), time.process_time()
    runner.train()
    seconds, cpu_seconds = time.monotonic() - started, time.process_time() - cpu_started
    result = evaluate(runner.model)
    return Outcome(
        before=before,
        after=result.accuracy[NUM_NEIGHBORS].top1,
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        num_queries=result.num_queries,
        log=Path(runner.log_dir) / f'{runner.timestamp}.log',
        checkpoint=Path((Path(cfg.work_dir) / 'last_checkpoint').read_text()),
        statistics=measure_selection(runner.model, cfg) if 'candidates' in cfg.model else {},
    )


def measure_selection(model: nn.Module, cfg: Config) -> dict[str, np.ndarray]:
    """Let the trained model select among fresh views of training images, and draw the panel."""
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    # Judged in batches of the training's size, on which normalization and negatives depend.
    batch_size = cfg.train_dataloader.batch_size
    number = min(NUM_INSPECTED, len(dataset)) // batch_size * batch_size
    found = []
    for start in range(0, number, batch_size):
        examples = draw_examples(dataset, range(start, start + batch_size), seed=start)
        selection = select_examples(model, examples)
        found.append(image_statistics(selection, torch.from_numpy(examples.boxes)))
        if start == 0:
            figure = draw_examples_panel(model, examples, selection, NUM_PICTURED)
            figure.savefig(Path(cfg.work_dir).parent / 'selection.png')
    return {name: torch.cat([part[name] for part in found]).numpy() for name in MEASURED}
