"""Images of a data set as one tensor, kept in a file from one run to the next."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpretrain.registry import DATASETS
from torch import Tensor

from hvs_mm.evaluation import KNNEvaluation
from hvs_mm.utils.atomic_write import atomic_write
from hvs_mm.utils.class_name import class_name

from ..schema import expect

#: Raised if the images of a data set look different in a newer version of this file.
_VERSION = 1
_LOAD = {'type': 'LoadImageFromFile'}


def training_images(cfg: Config, cache: Path) -> Tensor:
    """The training images of a config, (N, H, 3, W) uint8, BGR.

    Raises:
        StudyError: If they differ in size.
    """
    settings = dict(cfg.train_dataloader.dataset)
    # Generated images need no loading.
    is_file = class_name(settings['pipeline'][0]).startswith('Load')
    settings['pipeline'] = [_LOAD] if is_file else []
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        dataset = DATASETS.build(settings)
    images, _ = _cached(dataset, 'img', cache)
    # (N, H, W, 3) -> (N, H, 3, W), so that a pass over rows leaves the channels together
    return torch.from_numpy(images).permute(0, 1, 3, 2).contiguous()


class PreparedLoader:
    """The images of a k-NN evaluation as the loader of them gives them, prepared once.

    It has what :func:`hvs_mm.evaluation.extract_features` needs.
    """

    def __init__(self, dataset: Any, batch_size: int, cache: Path) -> None:
        images, labels = _cached(dataset, 'inputs', cache)
        self.images, self.batch_size = torch.from_numpy(images), batch_size
        self.samples = [SimpleNamespace(gt_label=label) for label in torch.from_numpy(labels)]
        self.sampler = range(len(images))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for start in range(0, len(self.images), self.batch_size):
            rows = slice(start, start + self.batch_size)
            yield {'inputs': self.images[rows], 'data_samples': self.samples[rows]}


def prepare_evaluation(evaluate: KNNEvaluation, cache: Path) -> None:
    """Let an evaluation take its images from memory, in place."""
    evaluate.loaders = [
        PreparedLoader(one.dataset, one.batch_size, cache) for one in evaluate.loaders
    ]


def _cached(dataset: Any, key: str, cache: Path) -> tuple[np.ndarray, np.ndarray]:
    """The images and labels of a data set, from a file that holds them if there is one."""
    path = cache / f'{_fingerprint(dataset, key)}.npz'
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        images, labels = _read(dataset, key)
        with atomic_write(path) as unfinished, open(unfinished, 'wb') as file:
            np.savez(file, images=images, labels=labels)
    with np.load(path) as found:
        return found['images'], found['labels']


def _read(dataset: Any, key: str) -> tuple[np.ndarray, np.ndarray]:
    images, labels = [], []
    for number in range(len(dataset)):
        results = dataset[number]
        image = results[key]
        images.append(image.numpy() if isinstance(image, Tensor) else image)
        label = results['data_samples'].gt_label if key == 'inputs' else results.get('gt_label', -1)
        labels.append(int(label))
        expect(
            images[-1].shape == images[0].shape,
            f'image {number} of the data set has the shape {images[-1].shape}, the first '
            f"{images[0].shape}: engine='fast' needs images of one size; use engine='runner'.",
        )
    return np.stack(images), np.array(labels)


def _fingerprint(dataset: Any, key: str) -> str:
    """A hash of the data set, its pipeline, and its files with their times."""
    dataset.full_init()
    parts = [_VERSION, key, type(dataset).__name__, repr(dataset.pipeline), len(dataset)]
    # Generated images have no files.
    parts += [getattr(dataset, name, None) for name in ('layout', 'seed', 'split', 'img_size')]
    root = getattr(dataset, 'img_prefix', None)
    parts += sorted(_files(root)) if root else []
    digest = hashlib.sha256(json.dumps(parts).encode())
    # MMEngine's serialized list of all samples, with labels and paths.
    digest.update(
        dataset.data_bytes if dataset.serialize_data else repr(dataset.data_list).encode()
    )
    return digest.hexdigest()[:16]


def _files(folder: str) -> Iterator[tuple[str, int, int]]:
    """Path, size and time of all files below a folder."""
    for entry in os.scandir(folder):
        if entry.is_dir():
            yield from _files(entry.path)
        else:
            status = entry.stat()
            yield entry.path, status.st_size, status.st_mtime_ns
