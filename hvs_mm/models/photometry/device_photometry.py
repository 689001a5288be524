"""The preprocessor of the model that changes the colors of views, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmpretrain.models.utils import SelfSupDataPreprocessor
from mmpretrain.registry import MODELS
from torch import Tensor

from ...utils.photometry_operations import PHOTOMETRY_FIELD, stack_operations
from .batch import apply_photometry, require_kornia


@MODELS.register_module()
class DevicePhotometry(SelfSupDataPreprocessor):
    """Change the colors of candidate views on the device of the model, then normalize them.

    It applies the operations that ``CandidateViews(photometry='device')`` has drawn, in batches,
    outside autocast. It draws no random numbers: the same seed gives the views that the loader
    alone would give, up to a few gray levels (docs/performance.md). A batch of one tensor, as in
    evaluation, holds no views and is only normalized.

    Takes the arguments of MMPretrain's ``SelfSupDataPreprocessor``, and raises an ``ImportError``
    if kornia is not installed.
    """

    def __init__(self, **kwargs: Any) -> None:
        require_kornia()
        super().__init__(**kwargs)

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Prepare a batch for the model; ``training`` is passed on to upstream's.

        Takes ``inputs``, S tensors (B, 3, H, W) uint8, BGR, one per view, and ``data_samples``, B
        data samples, and leaves both unchanged. Returns the views as float32, and copies of the
        samples without the operations.

        Raises:
            TypeError: If the views are not 8-bit.
            ValueError: If the data samples have no operations.
        """
        if isinstance(data['inputs'], Tensor):
            return super().forward(data, training)
        samples = data['data_samples']
        records: list[Any] = [getattr(sample, PHOTOMETRY_FIELD, None) for sample in samples]
        if any(record is None for record in records):
            raise ValueError(
                f'DevicePhotometry: the data samples have no {PHOTOMETRY_FIELD!r}, which says what '
                "to do to the views. Set photometry='device' in CandidateViews and pack the views "
                'with PackViews, with its default meta_keys; or set data_preprocessor.type='
                "'SelfSupDataPreprocessor'."
            )
        operations = stack_operations(records)
        views = apply_photometry(self.cast_data(list(data['inputs'])), operations)
        result = super().forward({'inputs': views, 'data_samples': data['data_samples']}, training)
        for sample in result['data_samples']:
            delattr(sample, PHOTOMETRY_FIELD)
        return result


def check_photometry_done(data_samples: Sequence[Any] | None) -> None:
    """Raise a ``ValueError`` if the preprocessor left the operations in the data samples."""
    if data_samples and hasattr(data_samples[0], PHOTOMETRY_FIELD):
        raise ValueError(
            "CandidateViews has photometry='device' and leaves color jitter, blur and the like to "
            'the preprocessor, which ignores them: set data_preprocessor.type='
            "'DevicePhotometry', or photometry='loader'."
        )
