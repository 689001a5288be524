"""Show what the loader feeds the model: images, crop boxes and all candidate views.

The text below a view names its transforms. With --checkpoint the views that the trained model keeps
are marked instead, next to the losses by which it chooses.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from PIL import Image

import hvs_mm  # noqa: F401  registers what configs name
from hvs_mm.datasets import draw_examples, join_examples
from hvs_mm.engine import (
    add_config_options,
    add_trust_option,
    build_training_dataset,
    check_picture,
    load_selecting_model,
    one_line_errors,
    output_file,
    read_merged_config,
    tool_parser,
)
from hvs_mm.reports import printable
from hvs_mm.visualization import (
    draw_candidates,
    draw_examples_panel,
    select_examples,
    to_rgb,
)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('config', help='config of a pretraining run with candidate views')
    parser.add_argument('--checkpoint', help='a checkpoint of the run: mark what its model keeps')
    parser.add_argument(
        '--images', metavar='DIR', help='a folder of images to show instead of training images'
    )
    parser.add_argument('--number', type=int, default=4, help='how many images, 4')
    parser.add_argument('--start', type=int, default=0, help='the first one, 0')
    parser.add_argument('--seed', type=int, default=0, help='of the views, 0')
    parser.add_argument('--out', metavar='OUT', default='views.png', help='views.png, here')
    parser.add_argument('--show', action='store_true', help='open the picture, too')
    add_trust_option(parser)
    add_config_options(parser, 'train_dataloader.dataset.data_root=DIR')
    return parser.parse_args(argv)


def browse(cfg: Config, args: argparse.Namespace) -> Path:
    dataset = build_training_dataset(cfg if args.images is None else with_images(cfg, args.images))
    last = args.start + args.number
    if args.number < 1 or args.start < 0 or last > len(dataset):
        raise ValueError(
            f'--start {args.start} --number {args.number}: the data set has images 0 to '
            f'{len(dataset) - 1}; ask for at least one of them.'
        )
    path = output_file(args.out)
    picture = Image.fromarray(to_rgb(draw(cfg, args, dataset)))
    picture.save(path)
    if args.show:
        picture.show()
    return path


def with_images(cfg: Config, folder: str) -> Config:
    """The config with the images of a folder in place of the training images."""
    cfg = Config(cfg.to_dict(), filename=cfg.filename)
    dataset = cfg.train_dataloader.dataset
    steps = [step for step in dataset.get('pipeline') or [] if not step['type'].startswith('Load')]
    cfg.train_dataloader.dataset = dict(
        type='CustomDataset',
        data_root=folder,
        with_label=False,
        pipeline=[dict(type='LoadCheckedImage'), *steps],
    )
    return cfg


def draw(cfg: Config, args: argparse.Namespace, dataset: BaseDataset) -> Figure:
    last = args.start + args.number
    examples = draw_examples(dataset, range(args.start, last), args.seed)
    if args.checkpoint is None:
        return draw_candidates(examples)
    model = load_selecting_model(cfg, args.checkpoint, trust=args.trust)
    # In a batch of the training's size and images: normalization and negatives depend on it.
    others = max(cfg.train_dataloader.batch_size - args.number, 0)
    if others:
        training = dataset if args.images is None else build_training_dataset(cfg)
        positions = [number % len(training) for number in range(last, last + others)]
        examples = join_examples(examples, draw_examples(training, positions, args.seed + 1))
    return draw_examples_panel(model, examples, select_examples(model, examples), args.number)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    with one_line_errors():
        check_picture('--out', args.out)
        cfg = read_merged_config(args.config, args.cfg_options)
        print(f'views: {printable(browse(cfg, args))}')


if __name__ == '__main__':
    main()
