"""How many images and views a core loads per second, by stage, against upstream's MultiView.

The candidate views of a config are drawn by CandidateViews and by MMPretrain's MultiView, with the
same pipelines, counts and random numbers, from the same JPEGs in memory: in turns, image by image,
on one core with one thread, in CPU time, so that other processes hardly matter. Reading files and
handing batches to the training process is not counted. A config of a baseline, which has MultiView
itself, is taken, too.

The times by stage come from runs of their own, in which the four changes of ColorJitter are applied
one after the other.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import mmcv
import numpy as np
import torch
from _images import Images, find_images
from _loading import JITTERS, REST, SIDES, STAGES, Views, load_all, read_views
from _measuring import benchmark_parser, summarize
from mmengine.registry import DefaultScope

from hvs_mm.engine import one_line_errors, read_merged_config, write_json

#: Stages that make up the whole time; the others are parts of the views.
_WHOLE = ('decode', 'before the views', 'views', 'after the views', 'pack', 'collate')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = benchmark_parser(
        __doc__,
        'train_dataloader.dataset.data_root=DIR',
        num_images=(32, 'number of images'),
        repeats=(5, 'how often each is loaded'),
    )
    parser.add_argument(
        '--images',
        metavar='FOLDER_OR_GLOB',
        help='by default those of the config, or synthetic ones if they are not there',
    )
    parser.add_argument('--json', metavar='FILE', help='write the numbers there, too')
    return parser.parse_args(argv)


@contextmanager
def one_core() -> Iterator[int | None]:
    """Keep the process on one core and in one thread.

    Yields:
        The number of the core; ``None`` where a process cannot be kept on one.
    """
    threads = cv2.getNumThreads(), torch.get_num_threads()
    cores = os.sched_getaffinity(0) if hasattr(os, 'sched_setaffinity') else None
    core = max(cores) if cores else None
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    if cores:
        os.sched_setaffinity(0, {core})
    try:
        yield core
    finally:
        if cores:
            os.sched_setaffinity(0, cores)
        cv2.setNumThreads(threads[0])
        torch.set_num_threads(threads[1])


def spread(values: Iterable[float]) -> dict[str, float]:
    return summarize(list(values), ('median', 'min', 'max'))


def summarize_rounds(
    views: Views, images: Images, rounds: list[dict[str, dict[str, float]]], levels: np.ndarray
) -> dict[str, Any]:
    """Medians over the repeats, with the least and the most; shares of values that differ."""
    total = [
        {side: sum(of[side].get(stage, 0.0) for stage in _WHOLE) for side in SIDES} for of in rounds
    ]
    heights, widths = zip(*images.sizes)
    summary: dict[str, Any] = {
        'views': views.counts,
        'images': {
            'source': images.source,
            'number': len(images.files),
            'height': spread(heights),
            'width': spread(widths),
            'kilobytes': spread(len(content) / 1000 for content in images.files),
        },
        'repeats': len(rounds),
    }
    for side in SIDES:
        summary[side] = {
            'images_per_second': spread(1 / of[side] for of in total),
            'views_per_second': spread(sum(views.counts) / of[side] for of in total),
            'milliseconds': {
                stage: spread(1000 * of[side].get(stage, 0.0) for of in rounds)
                for stage in order_stages(rounds)
            },
        }
    names = ('share', 'share_over_1', 'share_over_2')
    summary['difference'] = {
        name: levels[low:].sum() / levels.sum() for low, name in enumerate(names, start=1)
    }
    summary['ratio'] = {
        'loader': spread(of['upstream'] / of['ours'] for of in total),
        'views': spread(of['upstream']['views'] / of['ours']['views'] for of in rounds),
    }
    return summary


def order_stages(rounds: list[dict[str, dict[str, float]]]) -> list[str]:
    """The stages of the rounds, in the order of a usual pipeline."""
    met = dict.fromkeys(stage for of in rounds for side in SIDES for stage in of[side])
    usual = ['crop, resize', 'flip', *JITTERS, *STAGES.values()]
    others = [stage for stage in met if stage not in (*_WHOLE, REST, *usual)]
    order = dict.fromkeys([*_WHOLE[:2], *usual, *others, REST, *_WHOLE[2:]])
    return [stage for stage in order if stage in met]


def describe(summary: dict[str, Any], config: str) -> str:
    """The numbers as text."""
    images = summary['images']
    size = ' x '.join(
        f'{of["min"]:.0f}' if of['min'] == of['max'] else f'{of["min"]:.0f}-{of["max"]:.0f}'
        for of in (images['height'], images['width'])
    )
    core = 'not kept on one core' if summary['core'] is None else f'core {summary["core"]}'
    first, second = (summary[side] for side in SIDES)
    lines = [
        f'{config}: {sum(summary["views"])} views {summary["views"]} of an image',
        f'{images["number"]} {images["source"]}',
        f'height x width {size}, {images["kilobytes"]["median"]:.0f} kB; {core}, one thread; '
        f'medians of {summary["repeats"]} rounds [least, most]',
        '',
        f'{"":<20}{"upstream":>28}{"ours":>28}{"ratio":>8}',
    ]
    for key, label in (('images_per_second', 'images/s'), ('views_per_second', 'views/s')):
        ratio = second[key]['median'] / first[key]['median']
        lines.append(_line(label, first[key], second[key], f'{ratio:.1f}'))
    lines += ['', 'milliseconds per image']
    for stage, ours in second['milliseconds'].items():
        upstream = first['milliseconds'][stage]
        ratio = f'{upstream["median"] / ours["median"]:.1f}' if ours['median'] > 0 else ''
        lines.append(_line(stage, upstream, ours, ratio))
    lines.append('')
    for key, label in (('views', 'views alone'), ('loader', 'from JPEG to batch')):
        lines.append(f'{label}: {_shown(summary["ratio"][key], " times as fast")}')
    off = summary['difference']
    lines.append(
        f'values that differ: {off["share"]:.2%}, by more than one level of 256: '
        f'{off["share_over_1"]:.3%}, more than two: {off["share_over_2"]:.3%}'
    )
    return '\n'.join(lines)


def _line(label: str, upstream: dict[str, float], ours: dict[str, float], ratio: str) -> str:
    return f'{label:<20}{_shown(upstream):>28}{_shown(ours):>28}{ratio:>8}'


def _shown(of: dict[str, float], unit: str = '') -> str:
    return f'{of["median"]:.2f}{unit} [{of["min"]:.2f}, {of["max"]:.2f}]'


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    with one_line_errors():
        cfg = read_merged_config(args.config, args.cfg_options)
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmpretrain')):
            views = read_views(cfg)
            images = find_images(cfg, args.images, args.num_images)
            with one_core() as core:
                rounds, levels = load_all(views, images, args.repeats)
        versions = {'torch': torch.__version__, 'cv2': cv2.__version__, 'mmcv': mmcv.__version__}
        summary = {
            'config': args.config,
            'core': core,
            'versions': versions,
            **summarize_rounds(views, images, rounds, levels),
        }
        if args.json:
            write_json(args.json, summary)
        print(describe(summary, args.config))


if __name__ == '__main__':
    main()
