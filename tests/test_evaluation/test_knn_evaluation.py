"""The images and settings of an evaluation."""

from __future__ import annotations

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.dataset import DefaultSampler
from PIL import Image

from hvs_mm.evaluation import KNNEvaluation, KNNSettings, configured_settings, knn_datasets
from hvs_mm.evaluation.knn_evaluation import CENTER_CROP, knn_loader
from tests.test_configs import CONFIGS


def write_images(folder, classes, number=2, size=(40, 30)):
    rng = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for i in range(number):
            pixels = rng.integers(256, size=(*size[::-1], 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f'{i}.jpg')
    return str(folder)


def config(dataset=None, **kwargs):
    loader = {'dataset': dataset} if dataset else None
    return Config({'train_dataloader': loader, 'default_scope': 'mmpretrain', **kwargs})


def folders(root, **kwargs):
    """A config of a run on class folders, as its author would write it."""
    views = [dict(type='LoadImageFromFile'), dict(type='MultiView', num_views=2, transforms=[[]])]
    return config(dict(type='CustomDataset', data_root=str(root), pipeline=views), **kwargs)


@pytest.fixture
def root(tmp_path):
    write_images(tmp_path / 'train', ['cat', 'dog', 'eel'], number=3)
    write_images(tmp_path / 'val', ['cat', 'dog', 'eel'], number=1)
    return tmp_path


# --- Where they come from --------------------------------------------------------------------


def test_two_folders(root):
    bank, queries = knn_datasets(config(), str(root / 'train'), str(root / 'val'))
    assert (len(bank), len(queries)) == (9, 3)
    assert bank.get_gt_labels().tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert queries.get_gt_labels().tolist() == [0, 1, 2]
    sample = bank[4]
    assert tuple(sample['inputs'].shape) == (3, 224, 224)
    assert sample['data_samples'].gt_label.item() == 1


def test_folders_of_the_run(root):
    cfg = folders(root / 'train')
    bank, queries = knn_datasets(cfg, queries=str(root / 'val'))
    assert (len(bank), len(queries)) == (9, 3)
    # The run's own pipeline would give views.
    assert tuple(bank[0]['inputs'].shape) == (3, 224, 224)


@pytest.mark.parametrize('prefix', ['train', 'train/'])
def test_a_folder_val_beside_train(root, prefix):
    cfg = folders(root)
    cfg.train_dataloader.dataset.data_prefix = prefix
    bank, queries = knn_datasets(cfg)
    assert (len(bank), len(queries)) == (9, 3)
    assert queries.get_data_info(0)['img_path'] == str(root / 'val/cat/0.jpg')


def test_data_sets_as_configs(root):
    half = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=16), dict(type='PackInputs')]
    bank = dict(type='CustomDataset', data_root=str(root), data_prefix='train', indices=4)
    queries = dict(type='CustomDataset', data_root=str(root), data_prefix='val', pipeline=half)
    found = knn_datasets(config(), bank, queries)
    assert [len(dataset) for dataset in found] == [4, 3]
    assert tuple(found[0][0]['inputs'].shape) == (3, 224, 224)
    assert tuple(found[1][0]['inputs'].shape) == (3, 16, 16)
    assert bank.keys() == {'type', 'data_root', 'data_prefix', 'indices'}


def test_a_pipeline_of_the_config(root):
    pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=8)]
    cfg = config(knn_pipeline=[*pipeline, dict(type='PackInputs')])
    bank, _ = knn_datasets(cfg, str(root / 'train'), str(root / 'val'))
    assert tuple(bank[0]['inputs'].shape) == (3, 8, 8)


def test_the_usual_crop(root):
    """Short edge to 256 pixels, bicubic, then the central 224 x 224."""
    bank, _ = knn_datasets(config(), str(root / 'train'), str(root / 'val'))
    found = bank[0]['inputs'].numpy()
    image = Image.open(root / 'train/cat/0.jpg').resize((int(256 * 40 / 30), 256), Image.BICUBIC)
    top, left = (256 - 224) // 2, round((image.width - 224) / 2)
    # BGR, channels first.
    expected = np.asarray(image)[top : top + 224, left : left + 224, ::-1].transpose(2, 0, 1)
    assert np.abs(found.astype(int) - expected).mean() < 1.5
    assert [step['type'] for step in CENTER_CROP][1:3] == ['ResizeEdge', 'CenterCrop']


@pytest.mark.parametrize('name', ['demo/hvs_simsiam', 'demo/hvs_dino', 'demo/simsiam'])
def test_the_built_in_images(name):
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    bank, queries = knn_datasets(cfg)
    assert (bank.split, len(bank)) == ('train', 2048)
    assert (queries.split, len(queries)) == ('val', 1024)
    assert tuple(queries[0]['inputs'].shape) == (3, 48, 48)


@pytest.mark.parametrize(
    'name', ['hvs_simsiam_100e', 'hvs_dino_100e', 'baselines/ibot_vit-small_100e']
)
def test_imagenet(tmp_path, monkeypatch, name):
    from mmpretrain.datasets import ImageNet

    # Three classes in place of a thousand.
    monkeypatch.setattr(ImageNet, 'METAINFO', {'classes': ('a', 'b', 'c')})
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    cfg.train_dataloader.dataset.data_root = str(tmp_path)
    for split, number in (('train', 2), ('val', 1)):
        write_images(tmp_path / split, ['n01', 'n02', 'n03'], number)
    bank, queries = knn_datasets(cfg)
    assert bank.get_gt_labels().tolist() == [0, 0, 1, 1, 2, 2]
    assert queries.get_gt_labels().tolist() == [0, 1, 2]
    assert queries.get_data_info(1)['img_path'] == str(tmp_path / 'val/n02/0.jpg')
    assert tuple(queries[0]['inputs'].shape) == (3, 224, 224)
    # The names of the classes are always ImageNet's; the folders are not.
    (tmp_path / 'val/n03').rename(tmp_path / 'val/n04')
    with pytest.raises(
        ValueError, match=r"only in the bank \['n03'\], only in the queries \['n04'"
    ):
        knn_datasets(cfg)


def test_a_broken_image_is_an_error(root):
    (root / 'val/dog/0.jpg').write_bytes(b'')
    load = dict(type='LoadImageFromFile', ignore_empty=True)
    cfg = config(knn_pipeline=[load, dict(type='PackInputs')])
    _, queries = knn_datasets(cfg, str(root / 'train'), str(root / 'val'))
    # Training would take another image, of another class.
    with pytest.raises(Exception, match='should not get `None`'):
        queries[1]
    assert queries[2]['data_samples'].gt_label.item() == 2


def test_the_loader_draws_no_random_numbers():
    dataset = range(11)
    state = np.random.get_state()
    loader = knn_loader(dataset, 4, 0)
    np.testing.assert_equal(np.random.get_state(), state)
    assert isinstance(loader.sampler, DefaultSampler)
    assert list(loader.sampler) == list(range(11))


# --- Settings --------------------------------------------------------------------------------


def test_settings_of_the_hook():
    cfg = Config(
        {
            'default_hooks': {
                'timer': {'type': 'IterTimerHook'},
                'knn': {'type': 'KNNHook', 'interval': 3, 'k': [5], 'bank': 'here', 'at_start': 1},
            }
        }
    )
    assert configured_settings(cfg) == {'k': [5], 'bank': 'here'}
    cfg = Config({'custom_hooks': [{'type': 'mmpretrain.KNNHook', 'temperature': 0.1}]})
    assert configured_settings(cfg) == {'temperature': 0.1}
    assert configured_settings(Config({'default_hooks': None, 'custom_hooks': None})) == {}


def test_k_is_sorted_and_unique():
    assert KNNSettings(k=[20, 5, 20]).k == (5, 20)
    assert KNNSettings(k=7).k == (7,)


@pytest.mark.parametrize(
    ('settings', 'error', 'message'),
    [
        (dict(k=0), ValueError, 'must be at least 1'),
        (dict(k=[]), ValueError, 'names no number'),
        (dict(k=['5']), TypeError, "'5' is no int"),
        (dict(temperature=0.0), ValueError, 'temperature=0.0 must be positive'),
        (dict(batch_size=0), ValueError, 'batch_size=0 must be an integer of at least 1'),
    ],
)
def test_wrong_settings(settings, error, message):
    with pytest.raises(error, match=message):
        KNNSettings(**settings)


def test_k_larger_than_the_bank_is_found_without_a_feature(root):
    settings = KNNSettings(str(root / 'train'), str(root / 'val'), k=[3, 10])
    with pytest.raises(ValueError, match='k=10 neighbors, but the bank has only 9 images'):
        KNNEvaluation(config(), settings)


# --- Bad input -------------------------------------------------------------------------------


def test_different_class_folders(root):
    write_images(root / 'val', ['fly'], number=1)
    message = r"different classes \(3 and 4\): only in the bank \[\], only in the queries \['fly'\]"
    with pytest.raises(ValueError, match=message):
        knn_datasets(config(), str(root / 'train'), str(root / 'val'))


def test_class_names_are_compared_where_there_are_no_folders(root):
    bank = dict(type='ShapesDataset', pipeline=[])
    queries = dict(type='ShapesDataset', pipeline=[], metainfo={'classes': list('abcdefghij')})
    with pytest.raises(ValueError, match=r"different classes \(10 and 10\).*'arrow'.*'a', 'b'"):
        knn_datasets(config(), bank, queries)


@pytest.mark.parametrize('name', ['bank', 'queries'])
def test_a_folder_that_does_not_exist(root, name):
    given = {'bank': str(root / 'train'), 'queries': str(root / 'val'), name: str(root / 'none')}
    message = rf"^{name}: CustomDataset\(data_root='.*none'\) cannot be read: .*--{name} of tools"
    with pytest.raises(ValueError, match=message):
        knn_datasets(config(), **given)


@pytest.mark.parametrize('name', ['bank', 'queries'])
def test_a_folder_without_class_folders(root, name):
    given = {'bank': str(root / 'train'), 'queries': str(root / 'val'), name: str(root / 'val/cat')}
    with pytest.raises(
        ValueError, match=rf'^{name}: CustomDataset.*cannot be read: .*Found 0 files'
    ):
        knn_datasets(config(), **given)


def test_imagenet_that_is_not_there():
    cfg = Config.fromfile(CONFIGS / 'hvs_simsiam_100e.py')
    message = r"bank: ImageNet\(data_root='data/imagenet/', split='train'\) cannot be read: .*train"
    with pytest.raises(ValueError, match=message):
        knn_datasets(cfg)


def test_a_split_that_does_not_exist():
    queries = dict(type='ShapesDataset', split='test')
    with pytest.raises(ValueError, match=r"^queries: ShapesDataset\(split='test'\) cannot be read"):
        knn_datasets(config(knn_pipeline=[]), dict(type='ShapesDataset'), queries)


def test_images_without_labels(root):
    cfg = folders(root / 'train')
    cfg.train_dataloader.dataset.with_label = False
    message = r"bank: the images of CustomDataset\(.*with_label=False\) have no labels.*'bank' of"
    with pytest.raises(ValueError, match=message):
        knn_datasets(cfg, queries=str(root / 'val'))


def test_no_queries(root):
    message = "queries: the bank, CustomDataset.*has neither split='train' nor data_prefix='train'"
    with pytest.raises(ValueError, match=message):
        knn_datasets(folders(root / 'train'))
    # The split val of what the run trains on is none of another bank.
    cfg = config(dict(type='ShapesDataset', split='train'))
    with pytest.raises(ValueError, match=message):
        knn_datasets(cfg, bank=str(root / 'train'))


def test_no_bank(root):
    with pytest.raises(ValueError, match=r'bank: train_dataloader.dataset is missing'):
        knn_datasets(config(), queries=str(root / 'val'))
    wrapped = dict(type='RepeatDataset', times=2, dataset=dict(type='ShapesDataset'))
    with pytest.raises(ValueError, match=r'is RepeatDataset, which is no data set of images'):
        knn_datasets(config(wrapped))


def test_images_that_are_no_files_need_a_pipeline():
    with pytest.raises(ValueError, match=r'are no files: say how .* with knn_pipeline'):
        knn_datasets(config(dict(type='ShapesDataset', split='train')))
