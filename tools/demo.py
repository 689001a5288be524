"""Train with hard view selection on the built-in data and show what came of it."""

from __future__ import annotations

import argparse
import logging
import os
import time
from copy import deepcopy
from itertools import combinations
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
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from hvs_mm.selection import pair_ious
from hvs_mm.visualization import draw_selection

ROOT = Path(__file__).resolve().parents[1]
NUM_NEIGHBORS = 20
#: Images whose selection is looked at after training.
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


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--config', default=str(ROOT / 'configs/demo/hvs_simsiam.py'))
    parser.add_argument('--work-dir', default='work_dirs/demo')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    return parser.parse_args()


@torch.no_grad()
def extract_features(model: torch.nn.Module, dataset_config: dict) -> tuple[np.ndarray, np.ndarray]:
    """Globally pooled backbone features (N, D) of a split of the data, and its labels (N,)."""
    dataset = DATASETS.build(dataset_config)
    features, labels = [], []
    was_training = model.training
    model.eval()
    for start in range(0, len(dataset), 256):
        stop = min(start + 256, len(dataset))
        batch = default_collate([dataset[i] for i in range(start, stop)])
        inputs = model.data_preprocessor(batch)['inputs']
        features.append(model.extract_feat(inputs)[-1].mean((2, 3)))
        labels += [sample.gt_label.item() for sample in batch['data_samples']]
    model.train(was_training)
    return torch.cat(features).cpu().numpy(), np.array(labels)


def knn_accuracy(model: torch.nn.Module, cfg: Config) -> float:
    """Share of validation images whose nearest training images tell their class, in percent."""
    train = {**cfg.train_dataloader.dataset, 'pipeline': cfg.knn_pipeline}
    bank, bank_labels = extract_features(model, train)
    queries, labels = extract_features(model, {**train, 'split': 'val', 'num_samples': None})
    classifier = KNeighborsClassifier(NUM_NEIGHBORS, metric='cosine', weights='distance')
    return 100 * classifier.fit(bank, bank_labels).score(queries, labels)


def inspect_selection(
    model: torch.nn.Module, cfg: Config
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[Tensor]]:
    """Draw fresh candidate views of training images and let the trained model select.

    Returns:
        Kept views (N, 2), crop boxes (N, S, 4), IoU of all pairs (N, C) and the views.
    """
    dataset = DATASETS.build({**cfg.train_dataloader.dataset, 'indices': NUM_INSPECTED})
    indices, boxes, views = [], [], []
    batch_size = cfg.train_dataloader.batch_size
    for start in range(0, len(dataset) - batch_size + 1, batch_size):
        batch = default_collate([dataset[i] for i in range(start, start + batch_size)])
        inputs = model.data_preprocessor(deepcopy(batch))['inputs']
        indices.append(model.select_views(inputs).indices.cpu())
        boxes.append(torch.tensor(np.stack([s.view_boxes for s in batch['data_samples']])))
        if not views:
            views = batch['inputs']
    pairs = list(combinations(range(cfg.model.candidates[0]), 2))
    all_boxes = torch.cat(boxes)
    return (
        torch.cat(indices).numpy(),
        all_boxes.numpy(),
        pair_ious(all_boxes, pairs).numpy(),
        views,
    )


def draw_panel(cfg: Config, kept: np.ndarray, boxes: np.ndarray, ious: np.ndarray, views) -> Path:
    """Picture the views of the first images and say where the picture is."""
    raw_config = {**cfg.train_dataloader.dataset, 'pipeline': []}
    dataset = DATASETS.build(raw_config)
    pairs = list(combinations(range(cfg.model.candidates[0]), 2))
    images, crops, captions = [], [], []
    for i in range(NUM_PICTURED):
        # BGR to RGB
        images.append(dataset[i]['img'][..., ::-1])
        crops.append([view[i].permute(1, 2, 0).numpy()[..., ::-1] for view in views])
        kept_iou = ious[i, pairs.index(tuple(kept[i]))]
        captions.append(f'IoU kept {kept_iou:.2f}, mean {ious[i].mean():.2f}')
    path = Path(cfg.work_dir) / 'selection.png'
    draw_selection(images, crops, boxes, kept, captions).savefig(path, dpi=150)
    return path


def main() -> None:
    args = parse_args()
    # The loader's worker takes a core of its own; on networks this small threads only wait for
    # each other.
    torch.set_num_threads(1)
    console = Console()
    cfg = Config.fromfile(args.config)
    cfg.work_dir = args.work_dir
    cfg.merge_from_dict(args.cfg_options)
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

    kept, boxes, ious, views = inspect_selection(model, cfg)
    pairs = list(combinations(range(cfg.model.candidates[0]), 2))
    kept_ious = ious[np.arange(len(ious)), [pairs.index(tuple(pair)) for pair in kept]]
    # Several pairs can share the lowest IoU, 0 for crops that do not touch.
    is_lowest = ious <= ious.min(1, keepdims=True)
    lowest = 100 * (kept_ious <= ious.min(1)).mean()
    picture = draw_panel(cfg, kept, boxes, ious, views)

    table = Table(title='Hard view selection with SimSiam on built-in data', show_header=False)
    table.add_column(style='bold')
    table.add_column()
    table.add_row('training', f'{seconds:.0f} s')
    table.add_row('k-NN accuracy before', f'{before:.1f} %')
    table.add_row('k-NN accuracy after', f'{after:.1f} %')
    table.add_row(
        'lowest-IoU pair kept',
        f'{lowest:.1f} % of {len(ious)} images (by chance {100 * is_lowest.mean():.1f} %)',
    )
    table.add_row('mean IoU of kept pair', f'{kept_ious.mean():.3f} (of all {ious.mean():.3f})')
    console.print(table)
    # Printed without wrapping, so that the paths can be copied.
    log = Path(runner.log_dir) / f'{runner.timestamp}.log'
    checkpoint = Path((Path(cfg.work_dir) / 'last_checkpoint').read_text())
    for label, path in (('log', log), ('checkpoint', checkpoint), ('picture', picture)):
        print(f'{label + ":":12}{os.path.relpath(path)}')


if __name__ == '__main__':
    main()
