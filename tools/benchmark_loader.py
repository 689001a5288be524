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
import glob
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import mmcv
import numpy as np
import torch
from mmcv.transforms import BaseTransform, Compose
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.registry import DefaultScope
from mmpretrain.datasets.transforms import MultiView, PackInputs
from mmpretrain.registry import TRANSFORMS

from hvs_mm.datasets import CandidateViews, PackViews
from hvs_mm.engine import (
    add_config_options,
    build_training_dataset,
    error_line,
    merge_options,
    read_config,
)
from hvs_mm.utils.state_guard import own_random_numbers

_EXTENSIONS = ('.jpg', '.jpeg', '.png', '.bmp', '.webp')
#: Height and width of synthetic images, as most of ImageNet's.
_SYNTHETIC = (375, 500)
_QUALITY = 90
_SIDES = ('upstream', 'ours')

#: What stages are called, by the transform; others keep its name.
_STAGES = {
    'RandomResizedCrop': 'crop, resize',
    'RandomFlip': 'flip',
    'ColorJitter': 'color jitter',
    'RandomGrayscale': 'grayscale',
    'GaussianBlur': 'blur',
    'Solarize': 'solarize',
}
_JITTERS = ('brightness', 'contrast', 'saturation', 'hue')
#: What takes the whole time; the other stages are parts of the views.
_WHOLE = ('decode', 'before the views', 'views', 'after the views', 'pack', 'collate')
#: What the views take beyond their transforms: copies, records, checks.
_REST = 'rest of the views'


class Images(NamedTuple):
    """Images to measure with.

    Attributes:
        source: Where they come from, in words.
        files: Each as an encoded file.
        sizes: Height and width of each.
    """

    source: str
    files: list[bytes]
    sizes: list[tuple[int, int]]


class Views(NamedTuple):
    """What a config says of its views.

    Attributes:
        transforms: One pipeline per group, configs.
        counts: Views per pipeline.
        options: Further arguments of CandidateViews.
        before: Configs of the transforms before them.
        after: Configs of those after them, but for the packing.
    """

    transforms: list[list[dict[str, Any]]]
    counts: list[int]
    options: dict[str, Any]
    before: list[dict[str, Any]]
    after: list[dict[str, Any]]


class Timed(BaseTransform):
    """A transform, or a list of them, whose time is added to that of a stage."""

    def __init__(self, transforms: list[Any], stage: str, clock: dict[str, float]) -> None:
        self.transforms = transforms
        self.stage = stage
        self.clock = clock

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        started = time.process_time()
        for transform in self.transforms:
            results = transform(results)
        self.clock[self.stage] = self.clock.get(self.stage, 0.0) + time.process_time() - started
        return results


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config of a pretraining run')
    parser.add_argument(
        '--images',
        metavar='FOLDER_OR_GLOB',
        help='by default those of the config, or synthetic ones if they are not there',
    )
    parser.add_argument('--num-images', type=int, default=32, help='how many images, 32')
    parser.add_argument('--repeats', type=int, default=5, help='how often each is loaded, 5')
    parser.add_argument('--json', metavar='FILE', help='write the numbers there, too')
    add_config_options(parser, 'train_dataloader.dataset.data_root=DIR')
    return parser.parse_args(argv)


# --- what is measured ------------------------------------------------------------------------


def read_views(cfg: Config) -> Views:
    """The views of a config.

    Raises:
        ValueError: If it draws none.
    """
    dataset = cfg.get('train_dataloader', {}).get('dataset', {})
    while 'dataset' in dataset and 'pipeline' not in dataset:
        dataset = dataset['dataset']
    pipeline = dataset.get('pipeline', [])
    names = [str(step.get('type')).rsplit('.', 1)[-1] for step in pipeline]
    for position, (name, step) in enumerate(zip(names, pipeline)):
        if name in ('CandidateViews', 'MultiView'):
            settings = dict(step)
            for key in ('type', '_scope_'):
                settings.pop(key, None)
            counts = settings.pop('num_views')
            transforms = settings.pop('transforms')
            if isinstance(counts, int):
                counts = [counts]
            before, after = list(pipeline[:position]), list(pipeline[position + 1 :])
            after = [step for step in after if 'Pack' not in str(step.get('type'))]
            if settings.get('photometry') == 'device':
                raise ValueError(
                    f"{cfg.filename} leaves the colors to the device (photometry='device'), and "
                    'MultiView does not: name the config with photometry in the loader, or take '
                    'tools/dev/device_photometry_cost.py, which compares both places.'
                )
            return Views(list(transforms), list(counts), settings, before, after)
    raise ValueError(
        f'{cfg.filename} draws no views: its training pipeline is {names}. Name the config of a '
        'pretraining run with CandidateViews or MultiView in train_dataloader.dataset.pipeline.'
    )


def find_images(cfg: Config, args: argparse.Namespace) -> Images:
    """The images asked for, else those of the config, else synthetic ones.

    Raises:
        ValueError: If there is none, or one cannot be read.
    """
    if args.images is not None:
        return _read_images(f'images of {args.images}', _image_files(args.images), args.num_images)
    try:
        dataset = build_training_dataset(cfg)
    except FileNotFoundError as error:
        reason = str(error).split(' does not exist')[0].rsplit(' ', 1)[-1]
        files = [_encode(_photograph(*_SYNTHETIC, number)) for number in range(args.num_images)]
        source = f'synthetic JPEGs, as {reason} of the config does not exist'
        return Images(source, files, [_SYNTHETIC] * len(files))
    chosen = _spread(range(len(dataset)), args.num_images)
    paths = [dataset.get_data_info(position).get('img_path') for position in chosen]
    name = type(dataset).__name__
    if all(paths):
        return _read_images(f'images of the config ({name})', paths, len(paths))
    part = dataset
    while not hasattr(part, 'pipeline'):
        part = part.dataset
    part.pipeline = Compose([])
    pictures = [dataset[position]['img'] for position in chosen]
    return Images(
        f'images of the config, drawn by {name}, as JPEGs',
        [_encode(picture) for picture in pictures],
        [picture.shape[:2] for picture in pictures],
    )


def _image_files(place: str) -> list[str]:
    found = (
        [str(path) for path in Path(place).rglob('*')]
        if os.path.isdir(place)
        else glob.glob(place, recursive=True)
    )
    files = sorted(path for path in found if path.lower().endswith(_EXTENSIONS))
    if not files:
        kind = 'folder without images' if os.path.isdir(place) else 'no file matches'
        raise ValueError(f'--images {place}: {kind} ({", ".join(_EXTENSIONS)}).')
    return files


def _read_images(source: str, paths: Sequence[str], number: int) -> Images:
    files, sizes = [], []
    for path in _spread(paths, number):
        content = Path(path).read_bytes()
        image = mmcv.imfrombytes(content) if content else None
        if image is None:
            raise ValueError(
                f'{path} cannot be read as an image: remove it or give other --images.'
            )
        files.append(content)
        sizes.append(image.shape[:2])
    return Images(source, files, sizes)


def _spread(items: Sequence[Any], number: int) -> list[Any]:
    """Some of them, evenly spread: neighbors often resemble each other."""
    if len(items) <= number:
        return list(items)
    return [items[position * len(items) // number] for position in range(number)]


def _photograph(height: int, width: int, number: int) -> np.ndarray:
    """An image (height, width, 3) uint8 with the statistics of photographs.

    The amplitude of a wave falls with its frequency (D. Field, 1987), the channels resemble each
    other, and one image is brighter than another.
    """
    rng = np.random.default_rng(number)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing='ij'))
    frequency[0, 0] = np.inf
    waves = np.fft.ifft2(np.fft.fft2(rng.normal(size=(3, height, width))) / frequency).real
    luma, *tints = waves / waves.std(axis=(1, 2), keepdims=True)
    luma = rng.uniform(80, 150) + rng.uniform(35, 65) * luma
    # b, g, r
    planes = [luma + 18 * tints[0], luma, luma + 18 * tints[1]]
    return np.clip(np.stack(planes, axis=2), 0, 255).astype(np.uint8)


def _encode(image: np.ndarray) -> bytes:
    return cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()


# --- measuring -------------------------------------------------------------------------------


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


def build_views(side: str, views: Views, transforms: list[list[Any]]) -> Callable:
    """The transform of one side, of pipelines that may be built already."""
    if side == 'upstream':
        return MultiView(transforms, views.counts)
    return CandidateViews(transforms, views.counts, **views.options)


def build_decoder(side: str, reader: dict[str, Any]) -> Callable[[bytes], np.ndarray]:
    """How a side turns a file into pixels; upstream's does not check it first."""
    if side == 'ours' and _name(reader) == 'LoadCheckedImage':
        return TRANSFORMS.build(reader).decode
    return partial(
        mmcv.imfrombytes,
        flag=reader.get('color_type', 'color'),
        backend=reader.get('imdecode_backend', 'cv2'),
    )


def _reads_files(step: dict[str, Any]) -> bool:
    return _name(step) in ('LoadImageFromFile', 'LoadCheckedImage')


def _name(step: dict[str, Any]) -> str:
    kind = step.get('type')
    return str(getattr(kind, '__name__', kind)).rsplit('.', 1)[-1]


def expand(step: dict[str, Any], clock: dict[str, float]) -> Any:
    """A transform that counts its time by stage, also inside of wrappers."""
    settings = dict(step)
    name = str(settings['type']).rsplit('.', 1)[-1]
    inner = settings.get('transforms')
    if inner is not None:
        settings['transforms'] = _expand_all(inner, clock)
        return TRANSFORMS.build(settings)
    if name == 'ColorJitter':
        others = {key: value for key, value in settings.items() if key not in _JITTERS}
        return Compose(
            [
                Timed([TRANSFORMS.build({**others, kind: settings[kind]})], kind, clock)
                for kind in _JITTERS
                if settings.get(kind)
            ]
        )
    return Timed([TRANSFORMS.build(settings)], _STAGES.get(name, name), clock)


def _expand_all(steps: Any, clock: dict[str, float]) -> Any:
    if isinstance(steps, Sequence):
        return [_expand_all(step, clock) for step in steps]
    return expand(steps, clock)


class Loader:
    """One side of the comparison.

    Args:
        side: ``'upstream'`` or ``'ours'``.
        views: What it draws.
        by_stage: Count the times of the transforms, too.
    """

    def __init__(self, side: str, views: Views, by_stage: bool) -> None:
        self.clock: dict[str, float] = {}
        steps = _expand_all(views.transforms, self.clock) if by_stage else views.transforms
        readers = [step for step in views.before if _reads_files(step)]
        self.decoder = build_decoder(side, dict(readers[0]) if readers else {})
        before = Compose([dict(step) for step in views.before if step not in readers])
        after = Compose([dict(step) for step in views.after])
        self.steps = {
            'decode': self._decode,
            **({'before the views': before} if before.transforms else {}),
            'views': build_views(side, views, steps),
            **({'after the views': after} if after.transforms else {}),
            'pack': PackInputs() if side == 'upstream' else PackViews(),
        }

    def load(self, content: bytes, seed: int) -> tuple[dict[str, Any], dict[str, float]]:
        """The packed views of a file, and the seconds that each stage took."""
        self.clock.clear()
        times = {}
        with own_random_numbers(seed):
            results: Any = content
            last = time.process_time()
            for stage, step in self.steps.items():
                results = step(results)
                last, started = time.process_time(), last
                times[stage] = last - started
        return results, times

    def _decode(self, content: bytes) -> dict[str, Any]:
        return {'img': self.decoder(content), 'img_path': ''}


def measure(
    views: Views, images: Images, repeats: int
) -> tuple[list[dict[str, dict[str, float]]], np.ndarray]:
    """Load all images with both sides.

    Returns:
        Seconds per image of each stage, by side, once per repeat: what happens inside of the views
        is counted in other runs than all the rest. And (256,) how many values of the views are off
        by how many levels.
    """
    loaders = {
        (side, by_stage): Loader(side, views, by_stage)
        for side in _SIDES
        for by_stage in (False, True)
    }
    # Fills tables and caches.
    for loader in loaders.values():
        loader.load(images.files[0], 0)
    rounds, levels = [], np.zeros(256, dtype=np.int64)
    for repeat in range(repeats):
        seconds: dict[str, dict[str, float]] = {side: {} for side in _SIDES}
        batches: dict[str, list[Any]] = {side: [] for side in _SIDES}
        for number, content in enumerate(images.files):
            order = list(loaders.items())
            # Nobody always finds the caches that the same one left.
            random.Random(f'{repeat} {number}').shuffle(order)
            for (side, by_stage), loader in order:
                packed, stages = loader.load(content, repeat * len(images.files) + number)
                if by_stage:
                    rest = stages['views'] - sum(loader.clock.values())
                    stages = {**loader.clock, _REST: rest}
                else:
                    batches[side].append(packed)
                for stage, taken in stages.items():
                    seconds[side][stage] = seconds[side].get(stage, 0.0) + taken
        for side in random.Random(repeat).sample(_SIDES, 2):
            started = time.process_time()
            default_collate(batches[side])
            seconds[side]['collate'] = time.process_time() - started
        for first, second in zip(batches['upstream'], batches['ours']):
            levels += _levels_off(first['inputs'], second['inputs'])
        rounds.append(
            {
                side: {stage: taken / len(images.files) for stage, taken in stages.items()}
                for side, stages in seconds.items()
            }
        )
    return rounds, levels


def _levels_off(first: list[torch.Tensor], second: list[torch.Tensor]) -> np.ndarray:
    off = np.zeros(256, dtype=np.int64)
    for view, other in zip(first, second):
        difference = (view.short() - other.short()).abs()
        off += np.bincount(difference.numpy().ravel(), minlength=256)
    return off


# --- reporting -------------------------------------------------------------------------------


def spread(values: Sequence[float]) -> dict[str, float]:
    return {'median': float(np.median(values)), 'min': min(values), 'max': max(values)}


def summarize(
    views: Views,
    images: Images,
    rounds: list[dict[str, dict[str, float]]],
    levels: np.ndarray,
) -> dict[str, Any]:
    """Medians over the repeats, with the least and the most; shares of values that differ."""
    total = [
        {side: sum(of[side].get(stage, 0.0) for stage in _WHOLE) for side in _SIDES}
        for of in rounds
    ]
    number = sum(views.counts)
    heights, widths = zip(*images.sizes)
    summary: dict[str, Any] = {
        'views': views.counts,
        'images': {
            'source': images.source,
            'number': len(images.files),
            'height': spread(heights),
            'width': spread(widths),
            'kilobytes': spread([len(content) / 1000 for content in images.files]),
        },
        'repeats': len(rounds),
    }
    for side in _SIDES:
        summary[side] = {
            'images_per_second': spread([1 / of[side] for of in total]),
            'views_per_second': spread([number / of[side] for of in total]),
            'milliseconds': {
                stage: spread([1000 * of[side].get(stage, 0.0) for of in rounds])
                for stage in _stages(rounds)
            },
        }
    share = levels / levels.sum()
    summary['difference'] = {
        'share': share[1:].sum(),
        'share_over_1': share[2:].sum(),
        'share_over_2': share[3:].sum(),
    }
    summary['ratio'] = {
        'loader': spread([of['upstream'] / of['ours'] for of in total]),
        'views': spread([of['upstream']['views'] / of['ours']['views'] for of in rounds]),
    }
    return summary


def _stages(rounds: list[dict[str, dict[str, float]]]) -> list[str]:
    """Those that were met, in the order of a usual pipeline."""
    met = dict.fromkeys(stage for of in rounds for side in _SIDES for stage in of[side])
    order = ['crop, resize', 'flip', *_JITTERS, *_STAGES.values()]
    inner = [stage for stage in met if stage not in (*_WHOLE, _REST)]
    inner.sort(key=lambda stage: order.index(stage) if stage in order else len(order))
    stages = [*_WHOLE[:2], *inner, _REST, *_WHOLE[2:]]
    return [stage for stage in stages if stage in met]


def describe(summary: dict[str, Any], config: str) -> str:
    """The numbers as text."""
    images = summary['images']
    height, width = images['height'], images['width']
    size = ' x '.join(
        f'{of["min"]:.0f}' if of['min'] == of['max'] else f'{of["min"]:.0f}-{of["max"]:.0f}'
        for of in (height, width)
    )
    core = 'not kept on one core' if summary['core'] is None else f'core {summary["core"]}'
    lines = [
        f'{config}: {sum(summary["views"])} views {summary["views"]} of an image',
        f'{images["number"]} {images["source"]}',
        f'height x width {size}, {images["kilobytes"]["median"]:.0f} kB; {core}, one thread; '
        f'medians of {summary["repeats"]} rounds [least, most]',
        '',
        f'{"":<20}{"upstream":>28}{"ours":>28}{"ratio":>8}',
    ]
    for key, label in (('images_per_second', 'images/s'), ('views_per_second', 'views/s')):
        lines.append(_line(label, *(summary[side][key] for side in _SIDES), faster=True))
    lines += ['', 'milliseconds per image']
    for stage in summary['ours']['milliseconds']:
        lines.append(_line(stage, *(summary[side]['milliseconds'][stage] for side in _SIDES)))
    lines.append('')
    for key, label in (('views', 'views alone'), ('loader', 'from JPEG to batch')):
        of = summary['ratio'][key]
        lines.append(
            f'{label}: {of["median"]:.2f} times as fast [{of["min"]:.2f}, {of["max"]:.2f}]'
        )
    off = summary['difference']
    lines.append(
        f'values that differ: {off["share"]:.2%}, by more than one level of 256: '
        f'{off["share_over_1"]:.3%}, more than two: {off["share_over_2"]:.3%}'
    )
    return '\n'.join(lines)


def _line(
    label: str, upstream: dict[str, float], ours: dict[str, float], faster: bool = False
) -> str:
    columns = [f'{of["median"]:.2f} [{of["min"]:.2f}, {of["max"]:.2f}]' for of in (upstream, ours)]
    first, second = upstream['median'], ours['median']
    if faster:
        first, second = second, first
    ratio = f'{first / second:.1f}' if second > 0 else ''
    return f'{label:<20}{columns[0]:>28}{columns[1]:>28}{ratio:>8}'


def benchmark(args: argparse.Namespace) -> str:
    for option in ('num_images', 'repeats'):
        if getattr(args, option) < 1:
            raise ValueError(
                f'--{option.replace("_", "-")} {getattr(args, option)}: it must be at least 1.'
            )
    cfg = read_config(args.config)
    merge_options(cfg, args.cfg_options)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmpretrain')):
        views = read_views(cfg)
        images = find_images(cfg, args)
        with one_core() as core:
            measured = measure(views, images, args.repeats)
    summary = {
        'config': args.config,
        'core': core,
        'versions': {'torch': torch.__version__, 'cv2': cv2.__version__, 'mmcv': mmcv.__version__},
        **summarize(views, images, *measured),
    }
    if args.json:
        path = Path(args.json)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(summary, indent=2) + '\n', encoding='utf-8')
    return describe(summary, args.config)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    try:
        print(benchmark(args))
    except (ImportError, KeyError, OSError, SyntaxError, TypeError, ValueError) as error:
        sys.exit(error_line(error))


if __name__ == '__main__':
    main()
