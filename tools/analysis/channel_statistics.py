"""Measure the mean and the standard deviation of each channel of images, for your own config.

Prints the settings of ``data_preprocessor``, in units of the files. ``hvs-mm train`` measures by
itself.
"""

from __future__ import annotations

import argparse

from hvs_mm.datasets.loading.image_kind import RGB
from hvs_mm.engine import one_line_errors, tool_parser
from hvs_mm.recipes import find_images
from hvs_mm.utils.arguments import check_whole


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('data', metavar='DIR', help='images, as for hvs-mm train --data')
    parser.add_argument('--channels', type=int, metavar='N', help='as for hvs-mm train')
    parser.add_argument('--images', type=int, metavar='N', help='random images to measure; all')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    with one_line_errors():
        if args.images is not None:
            check_whole('--images', args.images)
        images = find_images(args.data, args.channels)
        mean, std, number = images.measure(args.images)
    kind = 'RGB, 8 bits' if images.kind == RGB else f'{images.kind}'
    print(f'# {number:,} of {len(images):,} images, {kind}')
    for name, values in (('mean', mean), ('std', std)):
        print(f'{name}=[{", ".join(f"{value:.6g}" for value in values)}],')


if __name__ == '__main__':
    main()
