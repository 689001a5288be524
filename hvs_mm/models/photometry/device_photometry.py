"""The preprocessor of the model that makes views, or changes their colors, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmpretrain.models.utils import SelfSupDataPreprocessor
from mmpretrain.registry import MODELS
from torch import Tensor

from ...utils.crop_record import CROPS_FIELD
from ...utils.photometry_operations import PHOTOMETRY_FIELD, stack_operations
from .batch import apply_photometry, require_kornia
from .crops import cut_views

#: What the loader leaves to do to views.
UNFINISHED_FIELDS = (PHOTOMETRY_FIELD, CROPS_FIELD)


@MODELS.register_module()
class DevicePhotometry(SelfSupDataPreprocessor):
    """Change the colors of candidate views on the device of the model, then normalize them.

    It applies the operations that ``CandidateViews(photometry='device')`` has drawn, in batches,
    outside autocast. With ``photometry='device_views'`` it first cuts the views out of the images,
    resizes and flips them. It draws no random numbers: the same seed gives the views that the
    loader alone would give, up to a few gray levels (docs/loader.md). A batch of one tensor, as in
    evaluation, holds no views and is only normalized.

    Takes the arguments of MMPretrain's ``SelfSupDataPreprocessor``, and raises an ``ImportError``
    if kornia is not installed.
    """

    def __init__(self, **kwargs: Any) -> None:
        require_kornia()
        super().__init__(**kwargs)

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Prepare a batch for the model; ``training`` is passed on to upstream's.

        Takes ``inputs``, S tensors (B, 3, H, W) uint8, BGR, one per view, or one (N,) of
        :func:`hvs_mm.datasets.join_images`, and ``data_samples``, B data samples, and leaves both
        unchanged. Returns the views as float32, and copies of the samples without what was done.

        Raises:
            TypeError: If views or images are not 8-bit.
            ValueError: If the data samples have no operations, or do not fit the inputs.
        """
        if isinstance(data['inputs'], Tensor):
            return super().forward(data, training)
        samples = data['data_samples']
        if any(PHOTOMETRY_FIELD not in sample for sample in samples):
            raise ValueError(
                f'DevicePhotometry: the data samples have no {PHOTOMETRY_FIELD!r}, which says what '
                "to do to the views. Set photometry='device' in CandidateViews and pack the views "
                'with PackViews, with its default meta_keys; or set data_preprocessor.type='
                "'SelfSupDataPreprocessor'."
            )
        views = finish_views(self.cast_data(list(data['inputs'])), samples)
        result = super().forward({'inputs': views, 'data_samples': samples}, training)
        for sample in result['data_samples']:
            for name in UNFINISHED_FIELDS:
                if name in sample:
                    delattr(sample, name)
        return result


def finish_views(inputs: Sequence[Tensor], data_samples: Sequence[Any]) -> list[Tensor]:
    """Do to the views of a batch what the loader has left to do; nothing if it has left nothing.

    Args:
        inputs: S tensors (B, 3, h, w), one per view; or one (N,) uint8 of
            :func:`hvs_mm.datasets.join_images`, on any device.
        data_samples: B data samples; the first one says what was left.

    Returns:
        S tensors (B, 3, h, w).

    Raises:
        TypeError: If views or images that are to be changed are not 8-bit.
        ValueError: If the inputs do not fit the data samples.
    """
    views = list(inputs)
    if CROPS_FIELD in data_samples[0]:
        views = cut_views(views[0], np.stack([s.get(CROPS_FIELD) for s in data_samples]))
    if PHOTOMETRY_FIELD in data_samples[0]:
        operations = stack_operations([s.get(PHOTOMETRY_FIELD) for s in data_samples])
        views = apply_photometry(views, operations)
    return views


def check_photometry_done(data_samples: Sequence[Any] | None) -> None:
    """Raise a ``ValueError`` if the preprocessor left the operations in the data samples."""
    # What is no sequence of data samples is rejected where they are read.
    samples = data_samples if isinstance(data_samples, Sequence) else ()
    if samples and hasattr(samples[0], PHOTOMETRY_FIELD):
        place, left = 'device', 'color jitter, blur and the like'
        if hasattr(samples[0], CROPS_FIELD):
            place, left = 'device_views', 'all but the draws'
        raise ValueError(
            f'CandidateViews has photometry={place!r} and leaves {left} to the preprocessor, which '
            "ignores them: set data_preprocessor.type='DevicePhotometry', or photometry='loader'."
        )
