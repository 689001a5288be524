"""What a k-NN classifier is made of: features, their classes, and which image each belongs to."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

#: The search packs an index into 32 bits.
MAX_INDEX = 0xFFFFFFFF


@dataclass(frozen=True, eq=False)
class LabeledFeatures:
    """The part of a data set that one process holds.

    Attributes:
        features: (N, D), any floating dtype, on any device.
        labels: (N,) int64 classes, at least 0.
        indices: (N,) int64, the number of each image in the whole data set, below 2^32. An image
            that occurs again, in this process or another one, is left out there.

    Raises:
        TypeError: If a tensor has the wrong dtype.
        ValueError: If the shapes do not fit, or a label or an index is out of range.
    """

    features: Tensor
    labels: Tensor
    indices: Tensor

    def __post_init__(self) -> None:
        if not self.features.is_floating_point():
            raise TypeError(f'features have dtype {self.features.dtype}, expected a floating one.')
        if self.features.ndim != 2:
            raise ValueError(f'features have shape {tuple(self.features.shape)}, expected (N, D).')
        for name, limit in (('labels', None), ('indices', MAX_INDEX)):
            values: Tensor = getattr(self, name)
            if values.dtype != torch.int64:
                raise TypeError(f'{name} have dtype {values.dtype}, expected torch.int64.')
            if values.shape != self.features.shape[:1]:
                raise ValueError(
                    f'{name} have shape {tuple(values.shape)}, but there are '
                    f'{len(self.features)} features: give one per feature.'
                )
            if len(values) and (values.min() < 0 or (limit is not None and values.max() > limit)):
                raise ValueError(
                    f'{name} lie between {values.min()} and {values.max()}, expected at least 0'
                    + (' and less than 2^32.' if limit is not None else '.')
                )

    def __len__(self) -> int:
        return len(self.features)

    def select(self, mask: Tensor) -> LabeledFeatures:
        """The samples at which a mask (N,) bool is true, without a copy if that is all."""
        if mask.all():
            return self
        return LabeledFeatures(
            self.features[mask.to(self.features.device)],
            self.labels[mask.to(self.labels.device)],
            self.indices[mask.to(self.indices.device)],
        )
