"""Records of the views, and values of their pairs that take the place of pair losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..utils.to_device import to_device
from .groups import ViewGroups
from .statistics.color import color_difference
from .statistics.geometry import pair_ious


def view_records(data_samples: Sequence[Any] | None, *names: str) -> dict[str, np.ndarray]:
    """Return records that ``CandidateViews`` made of the S views of B samples, by name.

    Args:
        data_samples: B data samples with ``view_boxes`` and the like.
        *names: ``'boxes'`` (B, S, 4), ``'flips'`` (B, S, 2) or ``'colors'`` (B, S, 7).

    Raises:
        ValueError: If the samples lack a record.
    """
    try:
        return {
            name: np.stack([getattr(sample, f'view_{name}') for sample in data_samples or [None]])
            for name in names
        }
    except AttributeError as error:
        raise ValueError(
            f'{error}: the data samples have no records of the views. Draw them with '
            'CandidateViews and pack them with PackViews, with its default meta_keys.'
        ) from error


@dataclass(frozen=True)
class RecordedValues:
    """A value of every pair of views of an image that takes no forward pass.

    Selectors read it in place of the pair losses.

    Attributes:
        title: What it is, for pictures.
        record: The record it comes from, a name for :func:`view_records`.
        changed_by: Names of the transforms without which all views have the same record.
        of_pairs: Maps a record (B, S, ...) and the number of target views T to values (B, T, S).
    """

    title: str
    record: str
    changed_by: tuple[str, ...]
    of_pairs: Callable[[Tensor, int], Tensor]

    @torch.compiler.disable
    def of_samples(
        self, data_samples: Sequence[Any] | None, groups: ViewGroups, device: torch.device
    ) -> Tensor:
        """The values (B, T, S) float32 for the views of B data samples, on a device.

        Raises:
            ValueError: If the samples have no record of the S candidate views.
        """
        record = view_records(data_samples, self.record)[self.record]
        if record.shape[1] != groups.num_views:
            raise ValueError(
                f'the data samples have view_{self.record} of {record.shape[1]} views, but '
                f'candidates={list(groups.candidates)} are {groups.num_views}: draw as many with '
                'CandidateViews.'
            )
        return self.of_pairs(to_device(torch.from_numpy(record), device), groups.num_targets)


def _negative_ious(boxes: Tensor, num_targets: int) -> Tensor:
    pairs = list(product(range(num_targets), range(boxes.shape[1])))
    return -pair_ious(boxes, pairs).unflatten(1, (num_targets, -1))


def _color_differences(colors: Tensor, num_targets: int) -> Tensor:
    # (B, T, 1, 7) and (B, 1, S, 7) -> (B, T, S)
    return color_difference(colors[:, :num_targets, None], colors[:, None])


#: The less two crops overlap, the higher.
NEGATIVE_IOU = RecordedValues(
    'minus IoU',
    'boxes',
    ('EfficientNetRandomCrop', 'RandomCrop', 'RandomResizedCrop'),
    _negative_ious,
)
#: See :func:`hvs_mm.selection.statistics.color.color_difference`.
COLOR_DIFFERENCE = RecordedValues(
    'color difference', 'colors', ('ColorJitter', 'RandomGrayscale'), _color_differences
)
