"""Tar shards and data sets of Hugging Face that a user points at."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pytest
from mmengine import fileio
from mmpretrain.registry import DATASETS

import hvs_mm
from hvs_mm import get_config
from hvs_mm.engine import build_training_dataset
from hvs_mm.recipes import choose_recipe, find_images, recipe_config
from hvs_mm.recipes.adapt import use_images
from hvs_mm.recipes.config import write_knn_lists
from tests.helpers.hostile_images import plain_images
from tests.helpers.tar_shards import write_shard, write_shards

IMAGES = list(plain_images(20).values())


def contents(dataset):
    return [fileio.get(dataset.get_data_info(n)['img_path']) for n in range(len(dataset))]


@pytest.fixture
def shards(tmp_path):
    write_shards(tmp_path / 'data', IMAGES, 2, kind='jpg')
    return f'{tmp_path}/data/x-{{000..001}}.tar'


def test_tar_shards(tmp_path, shards):
    source = find_images(shards)
    assert source.describe() == '20 images, median short side 32 px, 2 classes'
    assert source.labels.tolist() == [0, 1] * 10
    cfg = recipe_config(choose_recipe(source), source, tmp_path)
    assert cfg.train_dataloader.sampler.type == 'BlockSampler'
    dataset = build_training_dataset(cfg)
    assert contents(dataset) == IMAGES
    assert 'gt_label' not in dataset.get_data_info(0)
    # Upstream's data set reads them by a list.
    write_knn_lists(source, tmp_path)
    (hook,) = (hook for hook in cfg.custom_hooks if hook.type == 'KNNHook')
    bank, queries = DATASETS.build(hook.bank), DATASETS.build(hook.queries)
    assert sorted(contents(bank) + contents(queries)) == sorted(IMAGES)
    assert set(contents(bank)) == {IMAGES[n] for n in bank_positions(bank)}
    assert bank.get_gt_labels().tolist() == [n % 2 for n in bank_positions(bank)]


def bank_positions(bank):
    """By the names of the members, which are the positions."""
    paths = [bank.get_data_info(n)['img_path'] for n in range(len(bank))]
    return [int(path.partition('!/')[2].partition('.')[0]) for path in paths]


def test_shards_in_any_config(shards):
    cfg = get_config('mmpretrain::simsiam/simsiam_resnet50_8xb32-coslr-100e_in1k.py')
    pipeline = cfg.train_dataloader.dataset.pipeline
    use_images(cfg, find_images(shards))
    assert cfg.train_dataloader.sampler == dict(type='BlockSampler', shuffle=True)
    assert cfg.train_dataloader.dataset == dict(
        type='WebDatasetImages', shards=shards, with_label=False, pipeline=pipeline
    )


def test_labels_count_if_all_images_have_one(tmp_path):
    write_shard(tmp_path / 'x.tar', {'0.jpg': b'', '0.cls': b'0', '1.jpg': b''})
    assert find_images(tmp_path / 'x.tar').classes == ()
    with pytest.raises(ValueError, match='not every image has a label: a cls member'):
        hvs_mm.evaluate('run', tmp_path / 'x.tar')
    with pytest.raises(ValueError, match=r"are named by --data '.*/\*\.tar'\.$"):
        find_images(tmp_path)


@pytest.mark.parametrize('data', ['x-{0..1}.tar', 'hf:{folder}'])
def test_a_package_that_is_missing(tmp_path, monkeypatch, data):
    for name in ('braceexpand', 'datasets'):
        monkeypatch.setitem(sys.modules, name, None)
    (tmp_path / 'state.json').touch()
    with pytest.raises(ImportError, match=r'pip install "hvs-mm\[shards\]"'):
        find_images(data.format(folder=tmp_path) if 'hf' in data else tmp_path / data)


def test_what_is_no_data_set_of_hugging_face(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'^hf:.*: there is no such folder or file'):
        find_images(f'hf:{tmp_path}/x')
    with pytest.raises(ValueError, match='expected a folder that save_to_disk of datasets has'):
        find_images(f'hf:{tmp_path}')


# Each imports datasets, which takes seconds.


@pytest.fixture(scope='module')
def hugging_face():
    """A folder of each kind with the same 20 images, and 4 of them held out where it has splits."""
    import datasets

    features = datasets.Features(
        {
            'id': datasets.Value('string'),
            'label': datasets.ClassLabel(names=['cat', 'dog']),
            'image': datasets.Image(),
        }
    )

    def rows(number):
        return datasets.Dataset.from_dict(
            {
                'id': [str(n) for n in range(number)],
                'label': [n % 2 for n in range(number)],
                'image': [dict(bytes=IMAGES[n], path=f'{n}.jpg') for n in range(number)],
            },
            features=features,
        )

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        datasets.config.HF_DATASETS_CACHE = folder / 'cache'
        rows(20).save_to_disk(folder / 'one', num_shards=3)
        datasets.DatasetDict(train=rows(20), test=rows(4)).save_to_disk(folder / 'splits')
        # As the hub has them, and with nothing of datasets in them.
        (folder / 'parquet/data').mkdir(parents=True)
        for part in range(2):
            piece = rows(20).select(range(10 * part, 10 * part + 10))
            piece.to_parquet(folder / f'parquet/data/train-0000{part}-of-00002.parquet')
        rows(4).to_parquet(folder / 'parquet/data/test-00000-of-00001.parquet')
        yield folder


@pytest.mark.slow
@pytest.mark.parametrize(('kind', 'held_out'), [('one', 0), ('splits', 4), ('parquet', 4)])
def test_data_sets_of_hugging_face(hugging_face, tmp_path, kind, held_out):
    source = find_images(f'hf:{hugging_face / kind}')
    assert source.classes == ('cat', 'dog')
    assert source.labels.tolist() == [0, 1] * 10
    assert len(source.held_out or ()) == held_out
    assert source.median_side == 32
    cfg = recipe_config(choose_recipe(source), source, tmp_path)
    dataset = build_training_dataset(cfg)
    assert contents(dataset) == IMAGES
    labeled = DATASETS.build(dict(source.dataset(), with_label=True))
    assert (labeled.metainfo['classes'], labeled.get_gt_labels().tolist()) == (
        ('cat', 'dog'), [0, 1] * 10,
    )  # fmt: skip
    write_knn_lists(source, tmp_path)
    (hook,) = (hook for hook in cfg.custom_hooks if hook.type == 'KNNHook')
    assert set(contents(DATASETS.build(hook.queries))) <= set(IMAGES)


@pytest.mark.slow
def test_damaged_rows_and_files(hugging_face, tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    # No metadata of datasets; images as bytes, one as the path of a file that is gone, one missing.
    images = [{'bytes': one, 'path': None} for one in IMAGES[:3]]
    images += [{'bytes': None, 'path': '/gone.jpg'}, None]
    parquet.write_table(pa.table({'x': range(5), 'img': images}), tmp_path / 'a.parquet')
    (tmp_path / 'b.parquet').write_bytes((tmp_path / 'a.parquet').read_bytes()[:-50])
    with pytest.warns(UserWarning, match=r'b\.parquet is no whole parquet file'):
        source = find_images(f'hf:{tmp_path}')
    assert (len(source), source.classes) == (5, ())
    dataset = DATASETS.build(dict(source.dataset(), pipeline=[dict(type='LoadCheckedImage')]))
    reasons = []
    for number in range(5):
        results = dataset.get_data_info(number)
        load = dataset.pipeline.transforms[0]
        if load(results) is None:
            reasons.append(load._unreported.pop().reason)
        else:
            assert results['img'].shape == (32, 32, 3)
    assert reasons == [
        'cannot be read: No such file or directory', 'cannot be read: the row holds no image'
    ]  # fmt: skip
    parquet.write_table(pa.table({'words': ['a']}), tmp_path / 'c.parquet')
    with pytest.raises(ValueError, match=r'there is no column of images, but words \(Value\)'):
        find_images(f'hf:{tmp_path}/c.parquet')
    broken = tmp_path / 'broken'
    broken.mkdir()
    for path in (hugging_face / 'one').iterdir():
        (broken / path.name).write_bytes(path.read_bytes()[: 300 if 'arrow' in path.name else None])
    with pytest.raises(
        ValueError, match=r'^hf:.*/broken: the data set cannot be read \('
    ) as caught:
        find_images(f'hf:{broken}')
    assert '\n' not in str(caught.value)


@pytest.mark.slow
def test_other_columns(hugging_face):
    def build(**settings):
        return DATASETS.build(
            dict(type='HuggingFaceImages', path=hugging_face / 'splits', **settings)
        )

    assert len(build(split='test')) == 4
    assert build(label='label', image='image', indices=[3]).get_data_info(0)['gt_label'] == 1
    for settings, message in (
        (dict(split='val'), r"split='val' is unknown, there are \['train', 'test'\]"),
        (dict(image='id'), r"image='id' is no column of images, those are \['image'\]"),
        (dict(label='kind'), r"label='kind' is no column, those are \['id', 'label', 'image'\]"),
    ):
        with pytest.raises(ValueError, match=message):
            build(**settings)
    with pytest.raises(ValueError, match="label='id' holds no numbers"):
        build(label='id')
