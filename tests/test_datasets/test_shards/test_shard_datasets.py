"""Images in shards through the pipeline and the loader."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
from mmengine.dataset import pseudo_collate
from mmengine.dataset import sampler as mmengine_sampler
from mmpretrain.registry import DATASETS
from torch.utils.data import DataLoader

from hvs_mm.datasets import BlockSampler, LoadCheckedImage, WebDatasetImages
from hvs_mm.utils.bad_images import SKIPPED_FIELD
from tests.helpers.hostile_images import plain_images, write
from tests.helpers.tar_shards import write_shard, write_shards

IMAGES = list(plain_images(24).values())
LOAD = [dict(type='LoadCheckedImage')]
PACKED = [
    *LOAD,
    dict(type='CandidateViews', num_views=[2], transforms=[[dict(type='Resize', scale=8)]]),
    dict(type='PackViews', meta_keys=('sample_idx', 'img_path')),
]


@pytest.fixture
def pattern(tmp_path):
    write_shards(tmp_path, IMAGES, 4, kind='jpg')
    return f'{tmp_path}/x-{{000..003}}.tar'


def build(pattern, **settings):
    return DATASETS.build(dict(type='WebDatasetImages', shards=pattern, **settings))


@pytest.mark.parametrize('loader', ['LoadCheckedImage', 'LoadImageFromFile'])
def test_images_are_those_of_files(tmp_path, pattern, loader):
    paths = write(tmp_path / 'files', {f'{n}.jpg': image for n, image in enumerate(IMAGES)})
    dataset = build(pattern, pipeline=[dict(type=loader)])
    for number, path in enumerate(paths):
        found = dataset[number]
        np.testing.assert_array_equal(found['img'], LoadCheckedImage()({'img_path': path})['img'])
        assert (found['gt_label'], found['sample_idx']) == (number % 2, number)
    assert dataset.metainfo['classes'] == ('0', '1')
    assert dataset.get_gt_labels().tolist() == [0, 1] * 12
    assert dataset[7]['img_path'].startswith(f'tar://{tmp_path}/x-001.tar!/0007.jpg?')


def test_some_of_them(pattern):
    whole = build(pattern)
    for indices in (5, -3, [2, 9, 2]):
        part = build(pattern, indices=indices, with_label=False)
        expected = np.arange(24)[indices] if isinstance(indices, list) else (
            np.arange(24)[:indices] if indices > 0 else np.arange(24)[indices:])  # fmt: skip
        found = [part.get_data_info(number) for number in range(len(part))]
        assert [info['img_path'] for info in found] == [
            whole.get_data_info(number)['img_path'] for number in expected
        ]
        assert 'gt_label' not in found[0]
    copy = pickle.loads(pickle.dumps(whole))
    assert copy.get_data_info(23) == whole.get_data_info(23)


def test_two_processes_with_two_workers_see_each_image_once(pattern, monkeypatch):
    dataset = build(pattern, pipeline=PACKED)
    seen = []
    for rank in range(2):
        monkeypatch.setattr(mmengine_sampler, 'get_dist_info', lambda r=rank: (r, 2))
        sampler = BlockSampler(dataset, seed=0, block_size=4, window=8)
        loader = DataLoader(dataset, 3, sampler=sampler, num_workers=2, collate_fn=pseudo_collate)
        seen += [sample.sample_idx for batch in loader for sample in batch['data_samples']]
    assert sorted(seen) == list(range(24))


def test_broken_images_are_replaced_and_named(tmp_path):
    images = [*IMAGES[:6], IMAGES[6][:-40], *IMAGES[7:]]
    (path,) = write_shards(tmp_path, images, 1, kind='jpg')
    dataset = build(str(path), pipeline=PACKED)
    good = dataset[6]['data_samples']
    assert good.sample_idx != 6
    # The draw of another one may hit it again.
    bad = good.get(SKIPPED_FIELD)[0]
    assert bad.path.startswith(f'tar://{path}!/0006.jpg?')
    assert bad.reason == 'truncated: the end of the JPEG is missing'
    # As if a disk went away: the second half of the shard cannot be read any more.
    os.truncate(path, os.path.getsize(path) // 2)
    good = dataset[23]['data_samples']
    skipped = good.get(SKIPPED_FIELD)
    load = dataset.pipeline.transforms[0]
    assert '/0023.jpg?' in skipped[0].path
    assert 'bytes before the image' in skipped[0].reason
    # A member of terabytes, which a sparse file holds easily, is not read.
    huge = load.transform(dict(img_path=f'tar://{path}!/a.jpg?512+{2**42}'))
    assert huge is None
    assert load._unreported[-1].reason.startswith('too large: 4398046511104 bytes')


def test_labels_that_are_missing(tmp_path):
    path = tmp_path / 'x.tar'
    write_shard(path, {'0.jpg': IMAGES[0], '0.cls': b'0', '1.jpg': IMAGES[1]})
    assert len(build(path, with_label=False)) == 2
    with pytest.raises(ValueError, match=r'^WebDatasetImages: not every image has a label \(a cls'):
        build(path)


def test_reading_ahead_covers_the_images(tmp_path, pattern, monkeypatch):
    dataset = build(pattern, with_label=False)
    asked = []
    monkeypatch.setattr(os, 'posix_fadvise', lambda handle, *numbers: asked.append(numbers[:2]))
    # Two of the first shard, one of the second; then one alone.
    dataset.read_ahead(np.array([4, 5, 6, 20]))
    assert len(asked) == 3
    addresses = [dataset.get_data_info(n)['img_path'].rpartition('?')[2] for n in (4, 5, 6, 20)]
    (first, _), (second, size), *rest = [map(int, text.split('+')) for text in addresses]
    assert asked == [(first, second + size - first), *(tuple(one) for one in rest)]
    assert isinstance(dataset, WebDatasetImages)
