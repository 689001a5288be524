"""Keep the images of a k-NN evaluation in memory."""

from __future__ import annotations

from typing import Any

from torch.utils.data import Dataset

from hvs_mm.evaluation import KNNEvaluation, knn_loader


class CachedDataset(Dataset):
    """Prepares each sample once and keeps it, as long as the inputs fit into ``limit`` MiB.

    For images that one process evaluates again and again with a pipeline that draws no random
    numbers. Samples have a tensor ``inputs``, which nobody may change.
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


def cache_images(evaluate: KNNEvaluation) -> None:
    """Prepare the images of an evaluation once for all calls, in place.

    Not with worker processes, each of which would have a cache of its own.
    """
    evaluate.loaders = [
        loader
        if loader.num_workers
        else knn_loader(CachedDataset(loader.dataset), loader.batch_size, num_workers=0)
        for loader in evaluate.loaders
    ]
