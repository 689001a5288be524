"""Features of image files, labeled or not; broken files are left out and named."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine import fileio
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..datasets import LoadCheckedImage
from ..utils.arguments import check_whole
from ..utils.bad_images import BadImage, BadImagesError, describe
from .run_folder import TrainedRun

#: Most worker processes by default.
_MAX_WORKERS = 8


class _ImageFiles(Dataset):
    """Images as the network takes them, or why one cannot be used, with their positions."""

    def __init__(
        self,
        root: Path | str,
        paths: Sequence[str],
        loader: LoadCheckedImage,
        pipeline: list[dict],
    ) -> None:
        self.root, self.paths = str(root), paths
        self.loader = loader
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            self.transform = Compose(pipeline)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, position: int) -> tuple[int, Tensor | BadImage]:
        path = self.paths[position]
        whole = fileio.join_path(self.root, path)
        try:
            image = self.loader.read(whole)
        except OSError as error:
            return position, BadImage(path, f'cannot be read: {error.strerror or error}')
        except ValueError as error:
            return position, BadImage(path, str(error))
        shape = image.shape[:2]
        results = dict(img=image, img_shape=shape, ori_shape=shape, img_path=whole)
        return position, self.transform(results)['inputs']


def progress_bar() -> Progress:
    """A bar on the terminal's error stream or in a notebook; nothing in a pipe or a file."""
    console = Console(stderr=True)
    return Progress(
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not (console.is_terminal or console.is_jupyter),
    )


def image_features(
    run: TrainedRun,
    root: Path | str,
    paths: Sequence[str],
    progress: Progress,
    title: str = 'features',
    batch_size: int = 128,
    num_workers: int | None = None,
) -> tuple[np.ndarray, np.ndarray, list[BadImage]]:
    """Compute the features of image files.

    Args:
        run: The run with the network.
        root: Folder, or beginning of addresses, that ``paths`` are relative to.
        paths: N image files.
        progress: Where to show how many images are done, under ``title``.
        batch_size: Images that go forward together.
        num_workers: Worker processes that read images; by default one less than there are cores,
            at most 8, and none for a few images.

    Returns:
        Features (M, D) float32, the positions (M,) int64 of their images in ``paths``, and the
        images that are left out because they are broken.

    Raises:
        BadImagesError: If all images are broken.
        ValueError: If ``batch_size`` or ``num_workers`` is out of range.
    """
    check_whole('batch_size', batch_size)
    if num_workers is None:
        few = len(paths) <= 2 * batch_size
        num_workers = 0 if few else min((os.cpu_count() or 1) - 1, _MAX_WORKERS)
    check_whole('num_workers', num_workers, least=0)
    dataset = _ImageFiles(root, paths, run.loader, run.pipeline)
    loader = DataLoader(dataset, batch_size, num_workers=num_workers, collate_fn=list)
    device = next(run.model.parameters()).device
    features = np.empty((0, 0), np.float32)
    positions: list[int] = []
    broken: list[BadImage] = []
    task = progress.add_task(title, total=len(paths))
    for batch in loader:
        good = [(position, image) for position, image in batch if isinstance(image, Tensor)]
        broken += [image for _, image in batch if isinstance(image, BadImage)]
        if good:
            found = run.features(_prepare(run, [image for _, image in good], device)).cpu().numpy()
            if not positions:
                # Allocated once: joining batches at the end would need the memory twice.
                features = np.empty((len(paths), found.shape[1]), np.float32)
            features[len(positions) : len(positions) + len(found)] = found
            positions += [position for position, _ in good]
        progress.advance(task, len(batch))
    if not positions:
        raise BadImagesError(
            f'none of the {len(paths)} images in {str(root)!r} can be read: {describe(broken)}. '
            'Point --data at images like those of the training.'
        )
    return features[: len(positions)], np.array(positions), broken


def _prepare(run: TrainedRun, images: list[Tensor], device: torch.device) -> Tensor:
    """A batch (B, C, H, W) float32, normalized as in the training."""
    inputs = torch.stack(images)
    if hasattr(run.model, 'data_preprocessor'):
        return run.model.data_preprocessor({'inputs': inputs, 'data_samples': None})['inputs']
    return inputs.to(device)
