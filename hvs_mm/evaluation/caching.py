"""A data set that keeps its samples in memory."""

from __future__ import annotations

from typing import Any

from torch.utils.data import Dataset


class CachedDataset(Dataset):
    """Prepares each sample once and keeps it, up to a limit of memory.

    For images that one process evaluates again and again with a pipeline that draws no random
    numbers. Samples beyond the limit are prepared every time.

    Args:
        dataset: Data set whose samples have a tensor ``inputs``. Nobody may change the tensors.
        limit: Memory for all inputs together, in MiB.
    """

    def __init__(self, dataset: Dataset, limit: float = 512) -> None:
        self.dataset = dataset
        self._bytes_left = limit * 2**20
        self._samples: dict[int, Any] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index in self._samples:
            return self._samples[index]
        sample = self.dataset[index]
        self._bytes_left -= sample['inputs'].nbytes
        if self._bytes_left >= 0:
            self._samples[index] = sample
        return sample
