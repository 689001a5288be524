"""Samples that are prepared once."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import Dataset

from hvs_mm.evaluation import KNNEvaluation, KNNSettings
from hvs_study.caching import CachedDataset, cache_images
from tests.helpers.tiny import build_algorithm
from tests.test_evaluation.test_knn_evaluation import config


class Counting(Dataset):
    """Ten samples of 1 MiB."""

    def __init__(self):
        self.made = []

    def __len__(self):
        return 10

    def __getitem__(self, index):
        self.made.append(index)
        return {'inputs': torch.full((2**20,), index, dtype=torch.uint8), 'data_samples': index}


@pytest.mark.parametrize(('limit', 'kept'), [(10, 10), (9.99, 9), (3, 3), (0.5, 0)])
def test_each_is_made_once_up_to_the_limit(limit, kept):
    source = Counting()
    dataset = CachedDataset(source, limit)
    order = [7, 3, 3, 7, *range(10), *range(10)]
    for index in order:
        sample = dataset[index]
        assert sample['data_samples'] == index
        assert torch.equal(sample['inputs'], Counting()[index]['inputs'])
    assert len(dataset) == 10
    made_once = [index for index in range(10) if source.made.count(index) == 1]
    assert len(made_once) == kept
    assert len(source.made) == kept + sum(order.count(i) for i in range(10) if i not in made_once)


def test_an_evaluation_is_the_same_and_reads_once():
    model = build_algorithm('SimSiam')
    images = {
        name: dict(type='ShapesDataset', split=split, num_samples=number)
        for name, split, number in (('bank', 'train', 24), ('queries', 'val', 12))
    }
    cfg = config(knn_pipeline=[dict(type='Resize', scale=16), dict(type='PackInputs')])

    def evaluation(num_workers: int = 0) -> KNNEvaluation:
        settings = KNNSettings(**images, k=5, batch_size=5, num_workers=num_workers)
        return KNNEvaluation(cfg, settings)

    expected, once = evaluation()(model), evaluation()
    cache_images(once)
    assert once(model) == expected
    for loader in once.loaders:
        # Without it nothing more can be read.
        loader.dataset.dataset = [None] * len(loader.dataset)
    assert once(model) == expected
    # Workers would keep them for themselves.
    others = evaluation(1)
    cache_images(others)
    assert not any(isinstance(loader.dataset, CachedDataset) for loader in others.loaders)
