"""Put images of different sizes, whose views the device cuts, into one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dataset import default_collate
from mmengine.registry import FUNCTIONS

from ..utils.crop_record import CROPS_FIELD


@FUNCTIONS.register_module()
def join_images(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Collate samples as ``default_collate``, and images of any sizes into one row of pixels.

    A ``collate_fn``. The ``inputs`` of a sample from ``CandidateViews(photometry='device_views')``
    are an image as a list of one tensor (H W 3,) uint8; those of the batch are a list of one tensor
    (N,) with the pixels of all images. Other samples are stacked by MMEngine's ``default_collate``.
    """
    if CROPS_FIELD not in samples[0]['data_samples']:
        return default_collate(samples)
    return {
        'inputs': [torch.cat([sample['inputs'][0] for sample in samples])],
        'data_samples': [sample['data_samples'] for sample in samples],
    }
