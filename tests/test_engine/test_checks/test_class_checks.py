from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from hvs_mm.engine.checks.class_checks import check_categories

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
