"""Accuracy of a run's frozen features on images in class folders."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress

from ..engine import write_json
from ..evaluation.features import LabeledFeatures
from ..evaluation.knn import Accuracy, check_knn_settings, knn_accuracy
from ..evaluation.linear import linear_accuracy
from ..recipes import ImageSource, find_images
from ..recipes.config import knn_split
from ..recipes.shards import ShardSource
from ..utils.bad_images import BadImage
from .image_features import image_features, progress_bar
from .output import prepare_output
from .run_folder import TrainedRun, open_run

#: File in the folder of a run with the last result.
RESULT = 'eval.json'
#: DINO's softmax temperature of the neighbor weights.
_TEMPERATURE = 0.07
_NEIGHBORS = 20


@dataclass(frozen=True)
class Evaluation:
    """Accuracies in percent of classifiers on the frozen features of a run.

    Attributes:
        path: The file with the result.
        checkpoint: The checkpoint that was evaluated, ``network`` and ``epoch`` of it.
        data: The folder of images.
        num_train, num_test: Images that the classifiers know, and images to classify.
        k: Neighbors of the k-NN classifier.
        knn: Its accuracy.
        linear: Accuracy of logistic regression, trained with ``weight_decay``.
        chance: Accuracy of always saying the most common classes of the known images.
        skipped: Broken images that were left out.
    """

    path: Path
    checkpoint: str
    network: str
    epoch: int | None
    data: str
    num_train: int
    num_test: int
    k: int
    knn: Accuracy
    linear: Accuracy
    weight_decay: float
    chance: Accuracy
    skipped: list[BadImage] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The content of ``eval.json``."""
        content = asdict(self)
        for name in ('knn', 'linear', 'chance'):
            content[name] = getattr(self, name)._asdict()
        del content['path']
        content['skipped'] = [image.path for image in self.skipped]
        return content


def evaluate(
    run: str | os.PathLike,
    data: str | os.PathLike,
    out: str | os.PathLike | None = None,
    *,
    k: int | None = None,
    network: str | None = None,
    batch_size: int = 128,
    num_workers: int | None = None,
    device: str | None = None,
    trust: bool = False,
) -> Evaluation:
    """Measure the k-NN and the linear accuracy of a run's frozen features.

    Args:
        run: Folder of a run, or a checkpoint in it.
        data: Folder of class folders. With ``train`` and ``val`` in it, the images of ``val`` are
            classified; otherwise a fifth of all images, always the same. Or shards with labels.
        out: JSON file to write, by default ``eval.json`` in the folder of the run.
        k: Neighbors of the k-NN classifier; by default 20, or all images if there are fewer.
        network, batch_size, num_workers, device, trust: As for :func:`hvs_mm.embed`.

    Raises:
        FileNotFoundError: If the run, its checkpoint or the images are missing.
        OSError: If the result cannot be written.
        ValueError: If the images have no labels or cannot be read, or a setting is out of range.

    Examples:
        >>> evaluate('runs/first', 'images/').knn.top1
        71.3
    """
    images = find_images(data)
    if not images.classes:
        raise ValueError(f'--data {str(data)!r}: {_why_no_labels(images)}')
    trained = open_run(run, network, device, trust)
    target = prepare_output(trained.folder / RESULT if out is None else out, force=True)
    parts = knn_split(images, (len(images), len(images.held_out or images)))
    if k is not None:
        check_knn_settings([k], _TEMPERATURE, len(parts[0]['paths']))
    with progress_bar() as progress:
        (bank, no_bank), (queries, no_queries) = (
            _features(trained, part, progress, title, batch_size, num_workers)
            for title, part in zip(('known images', 'test images'), parts)
        )
        k = min(_NEIGHBORS, len(bank)) if k is None else min(k, len(bank))
        place = next(trained.model.parameters()).device
        task = progress.add_task('classifiers', total=2)
        nearest = knn_accuracy(bank, queries, [k], _TEMPERATURE, place)
        progress.advance(task)
        linear = linear_accuracy(bank, queries, place)
        progress.advance(task)
    result = Evaluation(
        path=target,
        checkpoint=str(trained.checkpoint),
        network=trained.network,
        epoch=trained.epoch,
        data=str(data),
        num_train=len(bank),
        num_test=len(queries),
        k=k,
        knn=nearest.accuracy[k],
        linear=linear.accuracy,
        weight_decay=linear.weight_decay,
        chance=_chance(bank.labels, queries.labels),
        skipped=no_bank + no_queries,
    )
    write_json(target, result.to_dict())
    return result


def _features(
    run: TrainedRun,
    part: dict[str, Any],
    progress: Progress,
    title: str,
    batch_size: int,
    num_workers: int | None,
) -> tuple[LabeledFeatures, list[BadImage]]:
    root, paths = part['root'], part['paths']
    features, positions, broken = image_features(
        run, root, paths, progress, title, batch_size, num_workers
    )
    labels = torch.from_numpy(part['labels'][positions])
    numbers = torch.arange(len(features))
    return LabeledFeatures(torch.from_numpy(features), labels, numbers), broken


def _chance(known: torch.Tensor, labels: torch.Tensor) -> Accuracy:
    order = known.bincount().argsort(descending=True, stable=True)
    shares = (100 * torch.isin(labels, order[:n]).double().mean().item() for n in (1, 5))
    return Accuracy(*shares)


def _why_no_labels(images: ImageSource) -> str:
    """Why the images have no classes, and what to do."""
    if isinstance(images, ShardSource):
        return images.no_labels
    counts = Counter(Path(path).parts[0] if '/' in path else '' for path in images.paths)
    way_out = (
        'Accuracy needs a folder per class, e.g. cat/ and dog/, also below train/ and val/; '
        'features without labels: hvs-mm embed.'
    )
    if images.list_file is not None:
        return f'a list of images has no labels. {way_out}'
    if '' in counts:
        return f'there are no labels, {counts[""]:,} images lie in no class folder. {way_out}'
    if len(counts) == 1:
        return f'all images are of one class, {next(iter(counts))!r}. {way_out}'
    small = min(counts, key=lambda name: (counts[name], name))
    return f'the class folder {small!r} has a single image, at least 2 are needed. {way_out}'
