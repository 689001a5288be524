"""Train with hard view selection on the built-in data and show the result."""

from __future__ import annotations

import argparse
import logging
import os
import time
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config, DictAction
from mmengine.dataset import default_collate
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS
from rich.console import Console
from rich.table import Table

from hvs_mm.datasets import draw_examples
from hvs_mm.engine import add_trust_option, build_trusted_model, one_line_errors, tool_parser
from hvs_mm.evaluation import KNNEvaluation, KNNSettings
from hvs_mm.selection.statistics.geometry import pair_ious
from hvs_mm.visualization import draw_examples_panel, select_examples

ROOT = Path(__file__).resolve().parents[1]
NUM_NEIGHBORS = 20
#: Images whose selection is shown after training.
NUM_INSPECTED = 1024
NUM_PICTURED = 4


class QuietRunner(Runner):
    """Keeps the log out of the terminal, which shows a progress bar instead."""

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.setLevel(logging.ERROR)
        return logger


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('--config', default=str(ROOT / 'configs/demo/hvs_simsiam.py'))
    parser.add_argument('--work-dir', default='work_dirs/demo')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    add_trust_option(parser)
    return parser.parse_args(argv)


def knn_accuracy(model: torch.nn.Module, cfg: Config) -> float:
    """Share of validation images whose nearest training images tell their class, in percent."""
    settings = KNNSettings(k=NUM_NEIGHBORS, batch_size=256, num_workers=0)
    return KNNEvaluation(cfg, settings)(model).accuracy[NUM_NEIGHBORS].top1


@dataclass
class Inspection:
    """What the trained model keeps of fresh candidates; N images, C pairs of target views.

    Attributes:
        choice: (N,) which pair was kept.
        ious: (N, C) IoU of the pairs.
    """

    choice: np.ndarray
    ious: np.ndarray

    @property
    def kept_ious(self) -> np.ndarray:
        return self.ious[np.arange(len(self.ious)), self.choice]


def inspect_selection(model: torch.nn.Module, cfg: Config) -> Inspection:
    """Draw fresh candidate views of training images and let the trained model select."""
    dataset = DATASETS.build({**cfg.train_dataloader.dataset, 'indices': NUM_INSPECTED})
    batch_size = cfg.train_dataloader.batch_size
    choice, boxes = [], []
    for start in range(0, len(dataset) - batch_size + 1, batch_size):
        batch = default_collate([dataset[i] for i in range(start, start + batch_size)])
        boxes.append(torch.tensor(np.stack([s.view_boxes for s in batch['data_samples']])))
        data = model.data_preprocessor(deepcopy(batch))
        selection = model.select_views(data['inputs'], data['data_samples'])
        choice.append(selection.target_choice)
    ious = pair_ious(torch.cat(boxes), selection.groups.target_combinations())
    return Inspection(torch.cat(choice).cpu().numpy(), ious.numpy())


def draw_panel(model: torch.nn.Module, cfg: Config) -> Path:
    """Picture what is kept of the first images and say where the picture is."""
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    # Judged in a batch of the training's size.
    examples = draw_examples(dataset, range(cfg.train_dataloader.batch_size))
    selection = select_examples(model, examples)
    path = Path(cfg.work_dir) / 'selection.png'
    draw_examples_panel(model, examples, selection, NUM_PICTURED).savefig(path)
    return path


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    # The loader's worker takes a core of its own; on networks this small threads only wait for
    # each other.
    torch.set_num_threads(1)
    console = Console()
    cfg = Config.fromfile(args.config)
    cfg.work_dir = args.work_dir
    cfg.merge_from_dict(args.cfg_options)
    with one_line_errors(ValueError):
        build_trusted_model(cfg, args.trust)
    runner = QuietRunner.from_cfg(cfg)
    model = runner.model
    model.init_weights()
    console.print('k-NN accuracy of the untrained network ...')
    before = knn_accuracy(model, cfg)
    started = time.monotonic()
    runner.train()
    seconds = time.monotonic() - started
    console.print('k-NN accuracy of the trained network ...')
    after = knn_accuracy(model, cfg)

    found = inspect_selection(model, cfg)
    lowest = found.ious.min(1)
    # Several pairs can share the lowest IoU, 0 for crops that do not touch.
    by_chance = (found.ious <= lowest[:, None]).mean()
    picture = draw_panel(model, cfg)

    table = Table(
        title=f'{cfg.model.algorithm.type} with hard views on built-in data', show_header=False
    )
    table.add_column(style='bold')
    table.add_column()
    table.add_row('training', f'{seconds:.0f} s')
    table.add_row('k-NN accuracy before', f'{before:.1f} %')
    table.add_row('k-NN accuracy after', f'{after:.1f} %')
    table.add_row(
        'lowest-IoU pair kept',
        f'{(found.kept_ious <= lowest).mean():.1%} of {len(lowest)} images '
        f'(by chance {by_chance:.1%})',
    )
    table.add_row(
        'mean IoU of kept pair', f'{found.kept_ious.mean():.3f} (of all {found.ious.mean():.3f})'
    )
    console.print(table)
    # Printed without wrapping, so that the paths can be copied.
    log = Path(runner.log_dir) / f'{runner.timestamp}.log'
    checkpoint = Path((Path(cfg.work_dir) / 'last_checkpoint').read_text())
    for label, path in (('log', log), ('checkpoint', checkpoint), ('picture', picture)):
        print(f'{label + ":":12}{os.path.relpath(path)}')


if __name__ == '__main__':
    main()
