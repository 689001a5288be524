"""What the processes of a distributed evaluation hold together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from mmengine.dist import all_gather_object
from torch import Tensor

from .labeled_features import LabeledFeatures


@dataclass(frozen=True, eq=False)
class Shards:
    """Which images of a data set the processes hold, each image once.

    Attributes:
        is_first: Of every process a mask (N,) bool over its images, false for those that occur
            before, in this process or one of lower rank.
        dim: Length of the features, 0 if there are none.
        indices: (M,) int64 numbers of all images, ascending.
        labels: (M,) int64 their classes.
    """

    is_first: list[Tensor]
    dim: int
    indices: Tensor
    labels: Tensor

    @classmethod
    def gather(cls, own: LabeledFeatures) -> Shards:
        """Called by all processes, each with its part; the features stay where they are.

        Raises:
            ValueError: If processes have features of different lengths.
        """
        parts = all_gather_object((own.indices.cpu(), own.labels.cpu(), own.features.shape[1]))
        indices, labels = (torch.cat(tensors) for tensors in list(zip(*parts))[:2])
        sizes = [len(part[0]) for part in parts]
        dims = {dim for (_, _, dim), size in zip(parts, sizes) if size}
        if len(dims) > 1:
            raise ValueError(f'the features of the processes have lengths {sorted(dims)}.')
        # A stable order, in which the first of several equal indices comes first.
        order = indices.argsort(stable=True)
        is_new = torch.ones_like(order, dtype=torch.bool)
        is_new[1:] = indices[order][1:] != indices[order][:-1]
        first = order[is_new]
        mask = torch.zeros_like(is_new)
        mask[first] = True
        return cls(list(mask.split(sizes)), max(dims, default=0), indices[first], labels[first])

    def __len__(self) -> int:
        return len(self.indices)

    def labels_of(self, indices: Tensor) -> Tensor:
        """Classes (...) int64 of images (...) int64 that are among them."""
        return self.labels[torch.searchsorted(self.indices, indices)]
