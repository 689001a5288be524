"""Normalize images of any number of channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmpretrain.models import SelfSupDataPreprocessor
from mmpretrain.registry import MODELS

from ..utils.arguments import is_list, is_number


@MODELS.register_module()
class ChannelPreprocessor(SelfSupDataPreprocessor):
    """MMPretrain's ``SelfSupDataPreprocessor`` for other numbers of channels than 1 and 3.

    Args:
        mean, std: A number for each channel, in units of the images, as
            :func:`hvs_mm.datasets.channel_statistics` measures them.
        non_blocking: As upstream's.

    Raises:
        ValueError: If ``mean`` and ``std`` are no lists of as many numbers, or one of ``std`` is
            not above 0.
    """

    def __init__(
        self, mean: Sequence[float], std: Sequence[float], non_blocking: bool = False
    ) -> None:
        super().__init__(non_blocking=non_blocking)
        for name, values in (('mean', mean), ('std', std)):
            if not is_list(values) or not values or not all(map(is_number, values)):
                raise ValueError(f'{name}={values!r} must be a list of a number for each channel.')
        if len(mean) != len(std):
            raise ValueError(
                f'mean has {len(mean)} numbers, std {len(std)}: give one for each channel.'
            )
        if not min(std) > 0:
            raise ValueError(f'std={list(std)!r}: every number must be above 0.')
        self._enable_normalize = True
        # Not saved: the config has them.
        self.register_buffer('mean', torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1), False)
        self.register_buffer('std', torch.tensor(std, dtype=torch.float32).view(-1, 1, 1), False)

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Normalize ``inputs``, a tensor (B, C, H, W) or a list of them, to float32.

        Raises:
            ValueError: If they have other channels.
        """
        inputs = data['inputs']
        for one in inputs if isinstance(inputs, (list, tuple)) else [inputs]:
            # A channel would be broadcast.
            if one.shape[1] != len(self.mean):
                raise ValueError(
                    f'the images have {one.shape[1]} channels, but mean and std of '
                    f'data_preprocessor have {len(self.mean)} numbers: give one for each channel.'
                )
        return super().forward(data, training)
