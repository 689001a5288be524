from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from hvs_mm.engine import preflight
from hvs_mm.engine.checks.class_checks import check_categories
from tests.helpers.tiny_classifier import classifier_config

KEY = 'train_dataloader.dataset'


def coco_dataset(path):
    return SimpleNamespace(ann_file=str(path), COCOAPI=object())


@pytest.fixture
def annotations(tmp_path):
    path = tmp_path / 'train.json'
    path.write_text(json.dumps(dict(categories=[dict(id=1, name='RBC'), dict(id=2, name='WBC')])))
    return path


@pytest.mark.parametrize('classes', [('WBC',), ['WBC', 'RBC']])
def test_known_classes_pass(annotations, classes):
    check_categories(coco_dataset(annotations), dict(metainfo=dict(classes=classes)), KEY)


def test_an_unknown_class_is_named_with_those_that_are_there(annotations):
    with pytest.raises(
        ValueError, match=r"'wbc' is none of .*train\.json.*\['RBC', 'WBC'\].*CLASSES"
    ):
        check_categories(
            coco_dataset(annotations), dict(metainfo=dict(classes=['RBC', 'wbc'])), KEY
        )


@pytest.mark.parametrize('text', ['', '[]', '{}', '{"categories": [{"id": 1}]}', 'not json'])
def test_a_file_of_another_kind(annotations, text):
    annotations.write_text(text)
    with pytest.raises(
        ValueError, match=r'train\.json. is no annotation file in the format of COCO'
    ):
        check_categories(coco_dataset(annotations), dict(metainfo=dict(classes=['RBC'])), KEY)


@pytest.mark.parametrize(
    ('dataset', 'config'),
    [
        (coco_dataset('missing.json'), dict()),
        (coco_dataset('missing.json'), dict(metainfo=dict(name='COCO'))),
        (SimpleNamespace(ann_file='missing.txt'), dict(metainfo=dict(classes=['RBC']))),
    ],
)
def test_nothing_is_read_without_classes_or_another_format(dataset, config):
    check_categories(dataset, config, KEY)


@pytest.mark.parametrize('loader', ['train', 'val'])
def test_number_of_classes(folders, checkpoint, loader):
    cfg = classifier_config(folders, checkpoint)
    cfg.model.head.num_classes = 3
    with pytest.raises(ValueError, match=r'model\.head\.num_classes=3, but train.* has 2 classes'):
        preflight(cfg)
    cfg = classifier_config(folders, checkpoint)
    (folders / loader / 'bird').mkdir()
    with pytest.raises(ValueError, match=rf'num_classes=2, but {loader}.*dataset has 3 classes'):
        preflight(cfg)


def test_number_of_classes_that_a_data_set_names(folders, checkpoint):
    cfg = classifier_config(folders, checkpoint)
    cfg.train_dataloader.dataset.type = 'ImageNet'
    with pytest.raises(ValueError, match=r'2 folders.*ImageNet has 1000.*dataset\.classes=FILE'):
        preflight(cfg)
    names = folders / 'classes.txt'
    names.write_text('cat\ndog\n')
    cfg.train_dataloader.dataset.classes = str(names)
    preflight(cfg)


def test_number_of_classes_in_a_list(folders, checkpoint):
    cfg = classifier_config(folders, checkpoint)
    cfg.train_dataloader.dataset.ann_file = 'train.txt'
    (folders / 'train.txt').write_text('cat/0.png 0\ndog/0.png 2\n')
    with pytest.raises(ValueError, match='dataset has 3 classes'):
        preflight(cfg)
    # A list may lack images of some classes.
    (folders / 'train.txt').write_text('cat/0.png 0\n')
    preflight(cfg)
    for text in ('cat/0.png\n', ''):
        (folders / 'train.txt').write_text(text)
        with pytest.raises(
            ValueError, match=r"cannot read the labels of '.*train\.txt': is it empty"
        ):
            preflight(cfg)
    cfg.train_dataloader.dataset.ann_file = 'other.txt'
    with pytest.raises(FileNotFoundError, match=r'other\.txt.* does not exist'):
        preflight(cfg)


def test_number_of_classes_of_mixed_labels(folders, checkpoint):
    cfg = classifier_config(folders, checkpoint)
    cfg.data_preprocessor.num_classes = 5
    preflight(cfg)
    cfg.model.train_cfg = dict(augments=[dict(type='Mixup', alpha=0.8)])
    with pytest.raises(ValueError, match=r'data_preprocessor\.num_classes=5, but .*=2'):
        preflight(cfg)
