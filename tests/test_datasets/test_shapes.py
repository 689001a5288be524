"""Tests of the built-in procedural dataset."""

from __future__ import annotations

import hashlib
import random
from functools import cache

import numpy as np
import pytest
import torch
from mmpretrain.registry import DATASETS
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch.utils.data import DataLoader

from hvs_mm.datasets import ShapesDataset, shapes
from hvs_mm.datasets.drawing.outlines import CLASSES
from hvs_mm.datasets.shapes import _KEPT_SIZE
from tests.helpers.fresh_process import fresh_process

NUM_TRAIN, NUM_VAL = 1000, 500
LAYOUTS = ('lattice', 'scene')
each_layout = pytest.mark.parametrize('layout', LAYOUTS)
LUMA = np.array([0.114, 0.587, 0.299], dtype=np.float32)


def digest(img: np.ndarray) -> str:
    return hashlib.sha256(img.tobytes()).hexdigest()


def first_digests(num: int) -> list[str]:
    dataset = ShapesDataset(split='train', num_samples=num)
    return [digest(sample['img']) for sample in dataset]


def collate_digests(samples: list[dict]) -> list[tuple[int, str]]:
    return [(sample['sample_idx'], digest(sample['img'])) for sample in samples]


@cache
def images(split: str, num: int, layout: str = 'lattice') -> tuple[np.ndarray, np.ndarray]:
    """Return images (num, 64, 64, 3) from 0 to 1 and labels (num,)."""
    dataset = ShapesDataset(split=split, num_samples=num, layout=layout)
    imgs = np.stack([sample['img'] for sample in dataset])
    return imgs.astype(np.float32) / 255.0, dataset.get_gt_labels()


def both_splits(layout: str) -> tuple[np.ndarray, np.ndarray]:
    """Training and validation images."""
    return images('train', NUM_TRAIN, layout)[0], images('val', NUM_VAL, layout)[0]


class TestSamples:
    @each_layout
    @pytest.mark.parametrize('size', [16, 33, 64])
    def test_keys_types_and_shapes(self, size: int, layout: str) -> None:
        sample = ShapesDataset(num_samples=12, img_size=size, layout=layout)[11]
        assert sample['img'].shape == (size, size, 3)
        assert sample['img'].dtype == np.uint8
        assert sample['img'].flags['C_CONTIGUOUS']
        assert sample['img_shape'] == sample['ori_shape'] == (size, size)
        assert sample['gt_label'] == 1
        assert isinstance(sample['gt_label'], int)
        assert sample['sample_idx'] == sample['img_id'] == 11

    @each_layout
    @pytest.mark.parametrize('label', range(len(CLASSES)))
    def test_every_class_has_contrast(self, label: int, layout: str) -> None:
        dataset = ShapesDataset(num_samples=12 * len(CLASSES), layout=layout)
        for img_id in range(label, len(dataset), len(CLASSES)):
            luma = dataset[img_id]['img'].astype(np.float32) @ LUMA
            low, high = np.percentile(luma, [2, 98])
            assert high - low > 60

    def test_negative_index(self) -> None:
        dataset = ShapesDataset(num_samples=20)
        assert digest(dataset[-1]['img']) == digest(dataset[19]['img'])

    def test_classes_are_balanced(self) -> None:
        for split, num in (('train', 4096), ('val', 1024)):
            dataset = ShapesDataset(split=split)
            counts = np.bincount(dataset.get_gt_labels(), minlength=len(CLASSES))
            assert len(dataset) == num
            assert len(counts) == len(CLASSES) >= 10
            assert counts.max() - counts.min() <= 1
        labels = ShapesDataset(num_samples=50 * len(CLASSES)).get_gt_labels()
        assert np.bincount(labels).tolist() == [50] * len(CLASSES)


class TestDeterminism:
    def test_across_instances_and_order(self) -> None:
        expected = first_digests(24)
        longer = ShapesDataset(num_samples=100)
        for i in reversed(range(24)):
            assert digest(longer[i]['img']) == expected[i]

    def test_across_processes(self) -> None:
        assert fresh_process()['digests'] == first_digests(24)

    @pytest.mark.parametrize('size', [_KEPT_SIZE, _KEPT_SIZE + 1])
    def test_changes_to_an_image_are_not_kept(self, size: int) -> None:
        dataset = ShapesDataset(num_samples=4, img_size=size)
        expected = dataset[3]['img'].copy()
        # As a pipeline may that works in place.
        dataset[3]['img'][:] = 0
        np.testing.assert_array_equal(dataset[3]['img'], expected)
        # Not that of another size, seed, split or layout.
        for other in (dict(img_size=32), dict(seed=1), dict(split='val'), dict(layout='scene')):
            settings = {'num_samples': 4, 'img_size': size, **other}
            assert not np.array_equal(ShapesDataset(**settings)[3]['img'], expected)

    def test_scenes(self) -> None:
        first, again = (ShapesDataset(num_samples=24, layout='scene') for _ in range(2))
        expected = [digest(sample['img']) for sample in first]
        for i in reversed(range(24)):
            assert digest(again[i]['img']) == expected[i]
        shapes._draw_once.cache_clear()
        assert [digest(sample['img']) for sample in again] == expected

    def test_the_images_of_the_committed_results(self) -> None:
        """Studies in docs/results/ do not name a layout: theirs must stay the default."""
        means = [ShapesDataset(num_samples=5)[i]['img'].mean() for i in range(5)]
        # OpenCV may round a pixel to another value.
        assert means == pytest.approx([130.82, 131.75, 104.11, 132.52, 140.91], abs=0.02)

    def test_through_two_workers(self) -> None:
        dataset = ShapesDataset(num_samples=24)
        loader = DataLoader(dataset, batch_size=5, num_workers=2, collate_fn=collate_digests)
        seen = [pair for batch in loader for pair in batch]
        assert seen == list(enumerate(first_digests(24)))

    def test_global_random_state_is_left_alone(self) -> None:
        np_state = np.random.get_state()
        py_state = random.getstate()
        torch_state = torch.get_rng_state()
        first_digests(20)
        after = np.random.get_state()
        assert np_state[0] == after[0]
        assert np_state[2:] == after[2:]
        np.testing.assert_array_equal(np_state[1], after[1])
        assert random.getstate() == py_state
        assert torch.equal(torch.get_rng_state(), torch_state)

    def test_global_random_state_has_no_influence(self) -> None:
        expected = first_digests(20)
        np.random.seed(123)
        random.seed(123)
        torch.manual_seed(123)
        assert first_digests(20) == expected

    def test_splits_and_seeds_share_no_image(self) -> None:
        sets = [
            {digest(sample['img']) for sample in ShapesDataset(split, num_samples=40, seed=seed)}
            for split in ('train', 'val')
            for seed in (0, 1)
        ]
        assert len(set.union(*sets)) == 160


class TestBaseClassFeatures:
    def test_registered_and_pipeline(self) -> None:
        dataset = DATASETS.build(
            dict(
                type='ShapesDataset',
                split='val',
                num_samples=30,
                pipeline=[dict(type='Resize', scale=24), dict(type='PackInputs')],
            )
        )
        assert dataset.metainfo['classes'] == CLASSES
        assert dataset.CLASSES == CLASSES
        packed = dataset[13]
        assert packed['inputs'].shape == (3, 24, 24)
        assert packed['inputs'].dtype == torch.uint8
        assert packed['data_samples'].gt_label.tolist() == [3]
        assert packed['data_samples'].ori_shape == (64, 64)
        assert 'Split: \tval' in repr(dataset)

    @pytest.mark.parametrize('serialize', [True, False])
    def test_indices_and_subset_keep_their_images(self, serialize: bool) -> None:
        full = first_digests(30)
        picked = [7, 29, 12]
        dataset = ShapesDataset(num_samples=30, indices=picked, serialize_data=serialize)
        assert [digest(sample['img']) for sample in dataset] == [full[i] for i in picked]
        assert dataset.get_gt_labels().tolist() == [7, 9, 2]
        assert [sample['sample_idx'] for sample in dataset] == [0, 1, 2]
        subset = ShapesDataset(num_samples=30, serialize_data=serialize).get_subset([4, 5])
        assert [digest(sample['img']) for sample in subset] == full[4:6]

    def test_lazy_init(self) -> None:
        dataset = ShapesDataset(num_samples=30, lazy_init=True)
        assert dataset.metainfo['classes'] == CLASSES
        assert not dataset._fully_initialized
        assert len(dataset) == 30

    def test_annotations_draw_nothing(self) -> None:
        info = ShapesDataset(num_samples=30).get_data_info(21)
        assert info == {'img_id': 21, 'gt_label': 1, 'sample_idx': 21}

    def test_classes_may_be_renamed(self) -> None:
        names = tuple('abcdefghij')
        assert ShapesDataset(metainfo={'classes': names}).metainfo['classes'] == names


class TestBadArguments:
    @pytest.mark.parametrize(
        ('kwargs', 'error', 'match'),
        [
            ({'split': 'test'}, ValueError, r"split='test' must be one of \['train', 'val'\]"),
            (
                {'layout': 'grid'},
                ValueError,
                r"layout='grid' must be one of \['lattice', 'scene'\]",
            ),
            ({'split': ['val']}, ValueError, r"split=\['val'\] must be one of"),
            ({'num_samples': 0}, ValueError, 'num_samples=0 must be an integer of at least 1'),
            ({'num_samples': 10.0}, ValueError, 'num_samples=10.0 must be an integer of at least'),
            ({'num_samples': True}, ValueError, 'num_samples=True must be an integer'),
            ({'img_size': 15}, ValueError, 'img_size=15 must be an integer of at least 16'),
            ({'img_size': (64, 64)}, ValueError, r'img_size=\(64, 64\) must be an integer'),
            ({'seed': -1}, ValueError, 'seed=-1 must be an integer of at least 0'),
            (
                {'metainfo': {'classes': ['a']}},
                ValueError,
                'must name 10 classes, not 1',
            ),
            ({'data_root': 'data'}, TypeError, 'data_root'),
        ],
    )
    def test_error_names_the_argument(
        self, kwargs: dict, error: type[Exception], match: str
    ) -> None:
        with pytest.raises(error, match=match):
            ShapesDataset(**kwargs)


class TestPositionMatters:
    """In scenes, as in photographs, crops that overlap less have less in common."""

    @staticmethod
    def variation(layout: str) -> float:
        """How much the mean color of a quarter of an image differs from that of another."""
        imgs, _ = images('val', NUM_VAL, layout)
        # (images, rows, 32, columns, 32, 3) -> (images, quarters, 3)
        quarters = imgs.reshape(-1, 2, 32, 2, 32, 3).mean((2, 4)).reshape(-1, 4, 3)
        return float(quarters.std(1).mean())

    def test_quarters_differ(self) -> None:
        assert self.variation('scene') > 2 * self.variation('lattice')


class TestOnlyTheShapeTellsTheClass:
    """Chance is 0.1; the standard error of an accuracy near it is 0.013 for 500 images."""

    @staticmethod
    def linear_accuracy(train: np.ndarray, val: np.ndarray) -> float:
        mean, std = train.mean(axis=0), train.std(axis=0) + 1e-6
        model = LogisticRegression(max_iter=300)
        model.fit((train - mean) / std, images('train', NUM_TRAIN)[1])
        return model.score((val - mean) / std, images('val', NUM_VAL)[1])

    @each_layout
    def test_color(self, layout: str) -> None:
        def statistics(imgs: np.ndarray) -> np.ndarray:
            return imgs.mean(axis=(1, 2))

        train, val = both_splits(layout)
        assert self.linear_accuracy(statistics(train), statistics(val)) < 0.15

    @each_layout
    def test_color_spread(self, layout: str) -> None:
        def statistics(imgs: np.ndarray) -> np.ndarray:
            return np.concatenate([imgs.std(axis=(1, 2)), imgs.min(axis=(1, 2))], axis=1)

        train, val = both_splits(layout)
        assert self.linear_accuracy(statistics(train), statistics(val)) < 0.16

    def test_position_and_area(self) -> None:
        def statistics(imgs: np.ndarray) -> np.ndarray:
            luma = imgs @ LUMA
            # Background pixels are the most frequent ones and lie between the copies' lumas.
            mask = np.abs(luma - np.median(luma, axis=(1, 2), keepdims=True)) > 0.1
            profiles = [mask.mean(axis=axis).reshape(len(imgs), 8, 8).mean(-1) for axis in (1, 2)]
            return np.concatenate([*profiles, mask.mean(axis=(1, 2))[:, None]], axis=1)

        train, val = (images(*key)[0] for key in (('train', NUM_TRAIN), ('val', NUM_VAL)))
        # Thresholding smoothed edges leaves a trace of the length of the outline in the area.
        assert self.linear_accuracy(statistics(train), statistics(val)) < 0.20

    @each_layout
    @pytest.mark.parametrize(('gray', 'bound'), [(False, 0.16), (True, 0.21)])
    def test_raw_pixel_neighbors(self, gray: bool, bound: float, layout: str) -> None:
        train, train_labels = images('train', NUM_TRAIN, layout)
        val, val_labels = images('val', NUM_VAL, layout)
        if gray:
            train, val = train @ LUMA, val @ LUMA
        model = KNeighborsClassifier(n_neighbors=20)
        model.fit(train.reshape(NUM_TRAIN, -1), train_labels)
        assert model.score(val.reshape(NUM_VAL, -1), val_labels) < bound
