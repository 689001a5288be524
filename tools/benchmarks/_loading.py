"""Both sides of the comparison of loaders: MMPretrain's MultiView and CandidateViews."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import mmcv
import numpy as np
import torch
from _images import Images
from _measuring import Clock
from mmcv.transforms import BaseTransform, Compose
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmpretrain.datasets.transforms import MultiView, PackInputs
from mmpretrain.registry import TRANSFORMS

from hvs_mm.datasets import CandidateViews, PackViews
from hvs_mm.utils.state_guard import own_random_numbers

SIDES = ('upstream', 'ours')
#: Changes of ColorJitter, in the order of the stages.
JITTERS = ('brightness', 'contrast', 'saturation', 'hue')
#: Names of stages, by the transform; others keep its name.
STAGES = {
    'RandomResizedCrop': 'crop, resize',
    'RandomFlip': 'flip',
    'ColorJitter': 'color jitter',
    'RandomGrayscale': 'grayscale',
    'GaussianBlur': 'blur',
    'Solarize': 'solarize',
}
#: The time that the views take beyond their transforms: copies, records, checks.
REST = 'rest of the views'


class Views(NamedTuple):
    """The views that a config draws.

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

    def build(self, side: str, transforms: list[list[Any]]) -> Callable:
        """The transform of one side, of pipelines that may be built already."""
        if side == 'upstream':
            return MultiView(transforms, self.counts)
        return CandidateViews(transforms, self.counts, **self.options)


def read_views(cfg: Config) -> Views:
    """The views of a config.

    Raises:
        ValueError: If it draws none, or leaves their colors to the device.
    """
    dataset = cfg.get('train_dataloader', {}).get('dataset', {})
    while 'dataset' in dataset and 'pipeline' not in dataset:
        dataset = dataset['dataset']
    pipeline = list(dataset.get('pipeline', []))
    names = [_name(step) for step in pipeline]
    drawing = [at for at, name in enumerate(names) if name in ('CandidateViews', 'MultiView')]
    if not drawing:
        raise ValueError(
            f'{cfg.filename} draws no views: its training pipeline is {names}. Name the config of '
            'a pretraining run with CandidateViews or MultiView in '
            'train_dataloader.dataset.pipeline.'
        )
    at = drawing[0]
    options = {k: v for k, v in pipeline[at].items() if k not in ('type', '_scope_')}
    counts, transforms = options.pop('num_views'), options.pop('transforms')
    photometry = options.get('photometry', 'loader')
    if photometry != 'loader':
        raise ValueError(
            f'{cfg.filename} leaves the colors to the device ({photometry=}), and MultiView '
            'does not: name the config with photometry in the loader, or take '
            'tools/benchmarks/device_photometry.py, which compares both places.'
        )
    counts = [counts] if isinstance(counts, int) else list(counts)
    after = [step for step in pipeline[at + 1 :] if 'Pack' not in _name(step)]
    return Views(list(transforms), counts, options, pipeline[:at], after)


def _name(step: dict[str, Any]) -> str:
    kind = step.get('type')
    return str(getattr(kind, '__name__', kind)).rsplit('.', 1)[-1]


class Timed(BaseTransform):
    """A transform whose time is added to that of a stage."""

    def __init__(self, settings: dict[str, Any], stage: str, clock: Clock) -> None:
        # Under this name CandidateViews finds those that it records.
        self.transforms = [TRANSFORMS.build(settings)]
        self.stage, self.clock = stage, clock

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        with self.clock.part(self.stage):
            return self.transforms[0](results)


def count_time(steps: Any, clock: Clock) -> Any:
    """Transforms of configs, which may be nested, that count their time by stage."""
    if not isinstance(steps, dict):
        return [count_time(step, clock) for step in steps]
    settings, name = dict(steps), _name(steps)
    if settings.get('transforms') is not None:
        settings['transforms'] = count_time(settings['transforms'], clock)
        return TRANSFORMS.build(settings)
    if name == 'ColorJitter':
        others = {key: value for key, value in settings.items() if key not in JITTERS}
        changes = [kind for kind in JITTERS if settings.get(kind)]
        return Compose([Timed({**others, kind: settings[kind]}, kind, clock) for kind in changes])
    return Timed(settings, STAGES.get(name, name), clock)


class Loader:
    """One side of the comparison, that may count the times of the transforms, too."""

    def __init__(self, side: str, views: Views, by_stage: bool) -> None:
        self.clock, self.inner = Clock(cpu_time=True), Clock(cpu_time=True)
        transforms = count_time(views.transforms, self.inner) if by_stage else views.transforms
        readers = [s for s in views.before if _name(s) in ('LoadImageFromFile', 'LoadCheckedImage')]
        self.decoder = build_decoder(side, dict(readers[0]) if readers else {})
        before = Compose([dict(step) for step in views.before if step not in readers])
        after = Compose([dict(step) for step in views.after])
        self.steps = {
            'decode': lambda content: {'img': self.decoder(content), 'img_path': ''},
            **({'before the views': before} if before.transforms else {}),
            'views': views.build(side, transforms),
            **({'after the views': after} if after.transforms else {}),
            'pack': PackInputs() if side == 'upstream' else PackViews(),
        }

    def load(self, content: bytes, seed: int) -> tuple[dict[str, Any], dict[str, float]]:
        """The packed views of a file, and the seconds by stage.

        With ``by_stage`` the stages are those of the transforms and :data:`REST`.
        """
        results: Any = content
        with own_random_numbers(seed):
            for stage, step in self.steps.items():
                with self.clock.part(stage):
                    results = step(results)
        times, inner = self.clock.read(), self.inner.read()
        if inner:
            times = {**inner, REST: times['views'] - sum(inner.values())}
        return results, times


def build_decoder(side: str, reader: dict[str, Any]) -> Callable[[bytes], np.ndarray]:
    """The function of a side that turns a file into pixels; upstream's does not check it first."""
    if side == 'ours' and _name(reader) == 'LoadCheckedImage':
        return TRANSFORMS.build(reader).decode
    backend = reader.get('imdecode_backend', 'cv2')
    return partial(mmcv.imfrombytes, flag=reader.get('color_type', 'color'), backend=backend)


def load_all(
    views: Views, images: Images, repeats: int
) -> tuple[list[dict[str, dict[str, float]]], np.ndarray]:
    """Load all images with both sides.

    Returns:
        Seconds per image of each stage, by side, once per repeat: the transforms of the views are
        counted in other runs than all the rest. And (256,) how many values of the views are off by
        how many levels.
    """
    loaders = [
        (side, by_stage, Loader(side, views, by_stage))
        for side in SIDES
        for by_stage in (False, True)
    ]
    # Fills tables and caches.
    for *_, loader in loaders:
        loader.load(images.files[0], 0)
    clock, rounds, levels = Clock(cpu_time=True), [], np.zeros(256, dtype=np.int64)
    for repeat in range(repeats):
        seconds: dict[str, Counter] = {side: Counter() for side in SIDES}
        batches: dict[str, list[Any]] = {side: [] for side in SIDES}
        for number, content in enumerate(images.files):
            # Nobody always finds the caches that the same one left.
            order = random.Random(f'{repeat} {number}').sample(loaders, len(loaders))
            for side, by_stage, loader in order:
                packed, times = loader.load(content, repeat * len(images.files) + number)
                seconds[side].update(times)
                if not by_stage:
                    batches[side].append(packed)
        for side in random.Random(repeat).sample(SIDES, 2):
            with clock.part('collate'):
                default_collate(batches[side])
            seconds[side].update(clock.read())
        for first, second in zip(batches['upstream'], batches['ours']):
            levels += levels_off(first['inputs'], second['inputs'])
        rounds.append(
            {
                side: {stage: taken / len(images.files) for stage, taken in times.items()}
                for side, times in seconds.items()
            }
        )
    return rounds, levels


def levels_off(first: list[torch.Tensor], second: list[torch.Tensor]) -> np.ndarray:
    """(256,) how many values of two lists of uint8 views are off by how many levels."""
    ours, others = (torch.cat([view.flatten() for view in views]) for views in (first, second))
    return np.bincount((ours.short() - others.short()).abs(), minlength=256)
