"""Does a lower overlap make a pair harder? Pair loss against IoU, and what else explains it.

Draws fresh candidate views of training images, lets the model of a checkpoint judge all pairs of
target views, and writes a picture and a JSON file with

- the correlation of pair loss and IoU, within images (which is what selection sees) and in all,
- how much of the loss the recorded properties of a pair explain, and which of them do
  (scikit-learn's permutation importance).
"""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

import numpy as np
import torch
from _example_batches import draw_example_batches, whole_batches
from _pair_loss_plot import draw_pair_loss
from _pair_properties import (
    Correlation,
    check_importance,
    correlate,
    pair_properties,
    rank_importance,
    varying,
    within_images,
)
from _trained_run import load_run
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from rich.console import Console
from rich.table import Table
from torch import nn

from hvs_mm.engine import (
    add_example_options,
    check_picture,
    one_line_errors,
    output_file,
    tool_parser,
    write_json,
)
from hvs_mm.reports import printable
from hvs_mm.selection.statistics.choice import pairs_within
from hvs_mm.visualization import select_examples


class Judged(NamedTuple):
    """Pairs of target views of B images.

    Attributes:
        pair_loss: (B, P) float32, mean of both directions.
        properties: By name (B, P).
    """

    pair_loss: np.ndarray
    properties: dict[str, np.ndarray]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument(
        '--out',
        metavar='OUT',
        default='pair_loss_vs_iou.png',
        help='the picture; the numbers go next to it, as .json. Here by default',
    )
    add_example_options(parser, images=512)
    return parser.parse_args(argv)


def judge(model: nn.Module, dataset: BaseDataset, cfg: Config, args: argparse.Namespace) -> Judged:
    """Draw views and let the model judge their pairs, in batches of the training's size."""
    batch_size = args.batch_size or cfg.train_dataloader.batch_size
    number = whole_batches(dataset, args.images, batch_size)
    check_importance(number)
    losses, properties = [], []
    for _, examples in draw_example_batches(dataset, number, batch_size, args.seed):
        selection = select_examples(model, examples)
        pairs = pairs_within(selection.groups.target_combinations())
        if len(pairs) < 2:
            raise ValueError(
                f'the candidates of an image make {len(pairs)} pair(s) of target views: it takes '
                'two to compare them. Draw more with model.candidates and CandidateViews.'
            )
        first, second = torch.tensor(pairs).unbind(1)
        pair_loss = selection.pair_loss.cpu()
        # L[t, s] and L[s, t]
        losses.append((pair_loss[:, first, second] + pair_loss[:, second, first]) / 2)
        recorded = [
            torch.from_numpy(np.stack([getattr(s, f'view_{name}') for s in examples.data_samples]))
            for name in ('boxes', 'flips', 'colors')
        ]
        properties.append(pair_properties(*recorded, pairs))
    joined = varying(
        {name: np.concatenate([p[name] for p in properties]) for name in properties[0]}
    )
    if 'iou' not in joined:
        raise ValueError('all pairs of an image have the same IoU: the pipelines do not crop.')
    return Judged(torch.cat(losses).numpy(), joined)


def show(content: dict[str, Any], within: Correlation, overall: Correlation) -> None:
    print(f'{content["pairs"]} pairs of {content["images"]} images; brackets: 95 % confidence')
    print(f'correlation of pair loss and IoU within images: {_interval(within)}')
    print(f'correlation of pair loss and IoU over all pairs: {_interval(overall)}')
    table = Table(title='what explains the loss of a pair, within images', title_justify='left')
    table.add_column('property')
    table.add_column('importance: loss of R2 when shuffled', justify='right')
    for name, found in content['importance'].items():
        table.add_row(name, f'{found["mean"]:+.4f} ± {found["std"]:.4f}')
    Console().print(table)
    r2 = content['r2']
    print(f'R2 of the model on images it was not fitted to: {r2:.3f}')
    if r2 <= 0:
        print('note: that is no better than the mean of an image: the importances mean little.')


def analyze(args: argparse.Namespace) -> None:
    check_picture('--out', args.out)
    cfg, model, dataset = load_run(args)
    judged = judge(model, dataset, cfg, args)
    iou = judged.properties['iou']
    within = correlate(within_images(iou), within_images(judged.pair_loss), seed=args.seed)
    overall = correlate(iou, judged.pair_loss, seed=args.seed)
    r2, ranking = rank_importance(judged.properties, judged.pair_loss, seed=args.seed)
    content = {
        'config': args.config,
        'checkpoint': args.checkpoint,
        'seed': args.seed,
        'images': len(iou),
        'pairs': iou.size,
        'correlation': {'within_images': within._asdict(), 'overall': overall._asdict()},
        'r2': r2,
        'importance': {item.name: {'mean': item.mean, 'std': item.std} for item in ranking},
    }
    show(content, within, overall)
    picture = output_file(args.out)
    title = f'correlation within images {_interval(within)}'
    draw_pair_loss(iou, judged.pair_loss, title, ranking).savefig(picture)
    numbers = picture.with_suffix('.json')
    write_json(numbers, content)
    print(f'picture: {printable(picture)}\nnumbers: {printable(numbers)}')


def _interval(found: Correlation) -> str:
    return f'{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]'


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    with one_line_errors():
        analyze(args)


if __name__ == '__main__':
    main()
