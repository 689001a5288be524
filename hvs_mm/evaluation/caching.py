"""A data set whose samples are made once."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import Dataset


class KeptInMemory(Dataset):
    """Samples of a data set, each made when it is first asked for and kept.

    For images that are evaluated again and again, in one process, by a pipeline that draws nothing.
    What takes more memory than the limit is made every time.

    Args:
        dataset: Gives samples with ``inputs``, a tensor, which nobody changes.
        limit: MiB that the inputs may take together.
    """

    def __init__(self, dataset: Dataset, limit: float = 512) -> None:
        self.dataset = dataset
        self._left = limit * 2**20
        self._samples: dict[int, Any] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index in self._samples:
            return self._samples[index]
        sample = self.dataset[index]
        inputs: torch.Tensor = sample['inputs']
        self._left -= inputs.nbytes
        if self._left >= 0:
            self._samples[index] = sample
        return sample
