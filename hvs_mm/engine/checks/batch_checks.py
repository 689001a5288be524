"""Check that the images of a run make batches to train on."""

from __future__ import annotations

import os
from math import ceil

from mmengine.config import Config
from torch import nn

from ...models.checks import ViewsError, check_batch_size
from ...models.hvs_algorithm import HVSAlgorithm
from ...utils.class_name import class_name
from .dataset_checks import count_images

_KEY = 'train_dataloader'
#: Where the launchers say how many processes there are.
_PROCESSES = {'pytorch': 'WORLD_SIZE', 'slurm': 'SLURM_NTASKS', 'mpi': 'OMPI_COMM_WORLD_SIZE'}


def check_enough_images(cfg: Config, model: nn.Module, listed: dict[str, int]) -> None:
    """Check that an epoch has a batch, and none that BatchNorm cannot normalize.

    With fewer images than the batch, ``drop_last=True`` leaves nothing to train on, and MMEngine
    would go through all its epochs without a step. With ``drop_last=False`` the batch is smaller.

    Args:
        cfg: The complete config.
        model: What it trains.
        listed: What :func:`check_datasets` gave.

    Raises:
        ValueError: If there is no batch, or the last one is a single image and the model has
            BatchNorm.
    """
    loader = cfg.get(_KEY)
    if not loader or loader.get('batch_sampler') or not loader.get('dataset'):
        return
    # Others may never end, and leave nothing out.
    if class_name({'type': 'DefaultSampler', **(loader.get('sampler') or {})}) != 'DefaultSampler':
        return
    drop_last = loader.get('drop_last', False)
    if not drop_last and not isinstance(model, HVSAlgorithm):
        return
    images = count_images(loader.dataset, f'{_KEY}.dataset', listed)
    if images is None:
        return
    batch_size = loader.get('batch_size', 1)
    processes = int(os.environ.get(_PROCESSES.get(cfg.get('launcher'), ''), 1))
    # The sampler rounds up: it gives some images twice.
    each = ceil(images / processes)
    if drop_last and each < batch_size:
        share = f', {each} for each of {processes} processes,' if processes > 1 else ''
        raise ValueError(
            f'{_KEY}.batch_size={batch_size}: the {images} images of {_KEY}.dataset{share} make no '
            f'batch with drop_last=True, nothing would be trained. Set --cfg-options '
            f'{_KEY}.batch_size={each}, or less, or {_KEY}.drop_last=False, with which the only '
            'batch has fewer images.'
        )
    if not drop_last and isinstance(model, HVSAlgorithm) and processes == 1 and each % batch_size:
        try:
            check_batch_size(model.train().algorithm, each % batch_size)
        except ViewsError as error:
            raise ValueError(
                f'{_KEY}.batch_size={batch_size} leaves one of the {images} images of '
                f'{_KEY}.dataset for the last batch of an epoch: {error}'
            ) from error
