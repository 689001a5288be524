"""Train with and without hard views on the same built-in images, and show what selection did."""

from __future__ import annotations

import argparse
import logging
import os
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config, DictAction
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS
from rich.console import Console
from rich.table import Table
from scipy.stats import bootstrap
from torch import nn

from hvs_mm.datasets import draw_examples
from hvs_mm.engine import add_trust_option, build_trusted_model, one_line_errors, tool_parser
from hvs_mm.evaluation import KNNEvaluation, KNNSettings
from hvs_mm.selection.statistics.choice import image_statistics
from hvs_mm.visualization import draw_examples_panel, select_examples

ROOT = Path(__file__).resolve().parents[1]
NUM_NEIGHBORS = 20
#: Images whose selection is measured after training.
NUM_INSPECTED = 1024
NUM_PICTURED = 4
BASELINE, HARD = 'baseline', 'hard views'
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


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument(
        '--config',
        default=str(ROOT / 'configs/demo/hvs_simsiam_scenes.py'),
        help='config of a run with hard views; the baseline is the same without them',
    )
    parser.add_argument('--seed', type=int, help="seed of both runs; the config's by default")
    parser.add_argument('--work-dir', default='work_dirs/demo')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    add_trust_option(parser)
    return parser.parse_args(argv)


def without_selection(cfg: Config) -> Config:
    """The config of the baseline: the wrapped algorithm, and only the views that it needs.

    The views still come from ``CandidateViews``. Upstream's ``MultiView`` is slower, and the
    baseline would lose time for a reason that has nothing to do with selection.
    """
    baseline = deepcopy(cfg)
    baseline.model = cfg.model.algorithm
    for step in baseline.train_dataloader.dataset.pipeline:
        if step['type'] == 'CandidateViews':
            step['num_views'] = list(cfg.model.keep)
    for hook in ('selection', 'panel'):
        baseline.default_hooks.pop(hook, None)
    return baseline


def make_configs(args: argparse.Namespace) -> dict[str, Config]:
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    if 'candidates' not in cfg.model:
        raise ValueError(
            f'--config {args.config}: its model {cfg.model.type} selects no views. Name the config '
            'of a run with hard views, such as configs/demo/hvs_simsiam_scenes.py.'
        )
    if args.seed is not None:
        cfg.randomness = dict(seed=args.seed)
    # Each of the two processes has a core to itself: workers and threads would only wait for the
    # other process.
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    # Two progress bars do not fit into one terminal.
    hooks = cfg.get('custom_hooks') or []
    cfg.custom_hooks = [hook for hook in hooks if hook['type'] != 'ProgressHook']
    configs = {BASELINE: without_selection(cfg), HARD: cfg}
    for name, one in configs.items():
        one.work_dir = str(Path(args.work_dir) / name.replace(' ', '_'))
        build_trusted_model(one, args.trust)
    return configs


def train(name: str, cfg: Config) -> Outcome:
    """Train a run in this process, and evaluate the network before and after."""
    torch.set_num_threads(1)
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
        statistics=measure_selection(runner.model, cfg) if name == HARD else {},
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


def with_interval(values: np.ndarray, form: str) -> str:
    """The mean of N images (N,) with its 95 % confidence interval, from a bootstrap over images."""
    values = values[np.isfinite(values)]
    result = bootstrap((values,), np.mean, method='percentile', random_state=0)
    low, high = result.confidence_interval
    return f'{values.mean():{form}} [{low:{form}}, {high:{form}}]'


def accuracy_table(title: str, outcomes: dict[str, Outcome]) -> Table:
    table = Table('', *outcomes, title=title)
    rows = {
        'k-NN accuracy, untrained': [f'{run.before:.1f} %' for run in outcomes.values()],
        'k-NN accuracy, trained': [f'{run.after:.1f} %' for run in outcomes.values()],
        'training': [f'{run.seconds:.0f} s' for run in outcomes.values()],
        'CPU time of it': [f'{run.cpu_seconds:.0f} s' for run in outcomes.values()],
    }
    for label, cells in rows.items():
        table.add_row(label, *cells)
    return table


def selection_table(found: dict[str, np.ndarray]) -> Table:
    number = len(found['iou_gap'])
    table = Table(title=f'What hard views keep of {number} images', show_header=False)
    table.add_row(
        'mean IoU of the crops',
        f'kept {found["iou_kept"].mean():.3f}, all pairs {found["iou_all"].mean():.3f}',
    )
    table.add_row('difference', with_interval(found['iou_gap'], '+.3f'))
    chance = found['lowest_iou_chance'].mean()
    table.add_row(
        'lowest-IoU pair kept',
        f'{with_interval(found["lowest_iou"], ".1%")}, by chance {chance:.1%}',
    )
    table.add_row('score above the mean', with_interval(found['score_gap'], '+.3f'))
    return table


def notes(outcomes: dict[str, Outcome]) -> Iterable[str]:
    """What the numbers say, and what they do not."""
    baseline, hard = outcomes.values()
    variances = [run.after * (100 - run.after) / run.num_queries for run in outcomes.values()]
    yield (
        f'Accuracy: {hard.after - baseline.after:+.1f} points, one seed each. The '
        f'{hard.num_queries} validation images alone leave ±{1.96 * sum(variances) ** 0.5:.1f} '
        "points open, and another seed changes more: try ARGS='--seed 1'."
    )
    ratio = hard.cpu_seconds / baseline.cpu_seconds
    yield (
        f'Time: equal epochs, for which hard views took {ratio:.1f} times the CPU time. '
        'docs/results.md compares at equal time.'
    )
    yield (
        'Selection: by the trained network, of fresh views of training images; in brackets 95 % '
        'intervals over images.'
    )


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    with one_line_errors(ValueError):
        configs = make_configs(args)
    # Forked, as the imports take seconds. Both start together, so neither has a quieter machine.
    with ProcessPoolExecutor(2, mp_context=get_context('fork')) as pool:
        outcomes = dict(zip(configs, pool.map(train, configs, configs.values())))
    console = Console()
    console.print(accuracy_table(f'{configs[BASELINE].model.type} on built-in images', outcomes))
    console.print(selection_table(outcomes[HARD].statistics))
    # Printed without wrapping, so that the paths can be copied.
    for note in notes(outcomes):
        print(note)
    paths = {'log': outcomes[HARD].log, 'checkpoint': outcomes[HARD].checkpoint}
    paths['picture'] = Path(args.work_dir) / 'selection.png'
    for label, path in paths.items():
        print(f'{label + ":":12}{os.path.relpath(path)}')


if __name__ == '__main__':
    main()
