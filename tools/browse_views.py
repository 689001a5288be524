"""Show what the loader feeds the model: images, crop boxes and all candidate views.

Nothing is trained or selected. The text below a view names its transforms.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmengine.config import Config
from PIL import Image

import hvs_mm  # noqa: F401  registers what configs name
from hvs_mm.datasets import draw_examples
from hvs_mm.engine import (
    add_config_options,
    build_training_dataset,
    check_picture,
    one_line_errors,
    output_file,
    read_merged_config,
    tool_parser,
)
from hvs_mm.reports import printable
from hvs_mm.visualization import draw_candidates, to_rgb


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('config', help='config of a pretraining run with candidate views')
    parser.add_argument('--number', type=int, default=4, help='how many images, 4')
    parser.add_argument('--start', type=int, default=0, help='the first one, 0')
    parser.add_argument('--seed', type=int, default=0, help='of the views, 0')
    parser.add_argument('--out', metavar='OUT', default='views.png', help='views.png, here')
    parser.add_argument('--show', action='store_true', help='open the picture, too')
    add_config_options(parser, 'train_dataloader.dataset.data_root=DIR')
    return parser.parse_args(argv)


def browse(cfg: Config, args: argparse.Namespace) -> Path:
    dataset = build_training_dataset(cfg)
    last = args.start + args.number
    if args.number < 1 or args.start < 0 or last > len(dataset):
        raise ValueError(
            f'--start {args.start} --number {args.number}: the data set has images 0 to '
            f'{len(dataset) - 1}; ask for at least one of them.'
        )
    pixels = to_rgb(draw_candidates(draw_examples(dataset, range(args.start, last), args.seed)))
    path = output_file(args.out)
    picture = Image.fromarray(pixels)
    picture.save(path)
    if args.show:
        picture.show()
    return path


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    with one_line_errors():
        check_picture('--out', args.out)
        cfg = read_merged_config(args.config, args.cfg_options)
        print(f'views: {printable(browse(cfg, args))}')


if __name__ == '__main__':
    main()
