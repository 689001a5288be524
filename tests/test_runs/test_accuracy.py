"""Accuracies of a run's features on images in class folders."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

import hvs_mm
from tests.helpers.runs import class_folders, draw


def test_colors_are_told_apart(trained, class_images, tmp_path, command):
    run = shutil.copytree(trained('small_resnet'), tmp_path / 'run')
    shown = command('eval', run, '--data', class_images).splitlines()
    assert shown[0] == f'backbone of {run}/epoch_1.pth: 36 known images, 12 test images'
    assert shown[-1] == f'result: {run}/eval.json'
    rows = [[cell.strip() for cell in line.split('│')[1:-1]] for line in shown if '│' in line]
    assert rows == [
        ['20 nearest neighbors', '100.00', '100.00'],
        ['linear', '100.00', '100.00'],
        ['most common class', '33.33', '100.00'],
    ]
    content = json.loads((run / 'eval.json').read_text())
    assert content.pop('weight_decay') > 0
    assert content == {
        'checkpoint': f'{run}/epoch_1.pth',
        'network': 'backbone',
        'epoch': 1,
        'data': str(class_images),
        'num_train': 36,
        'num_test': 12,
        'k': 20,
        'knn': {'top1': 100.0, 'top5': 100.0},
        'linear': {'top1': 100.0, 'top5': 100.0},
        'chance': {'top1': pytest.approx(100 / 3), 'top5': 100.0},
        'skipped': [],
    }


def test_without_test_images_a_fifth_is_held_out(trained, tmp_path):
    class_folders(tmp_path / 'images', 10)
    broken = tmp_path / 'images' / 'red' / 'broken.png'
    broken.write_text('no image')
    results = [
        hvs_mm.evaluate(trained('dino'), tmp_path / 'images', tmp_path / 'a.json', k=3)
        for _ in range(2)
    ]
    assert results[0] == results[1]
    assert (results[0].num_train + results[0].num_test, results[0].num_test // 6) == (30, 1)
    assert [image.path for image in results[0].skipped] == ['red/broken.png']
    assert results[0].network == 'teacher'
    assert json.loads((tmp_path / 'a.json').read_text())['skipped'] == ['red/broken.png']


def test_knn_accuracy_is_that_of_scikit_learn(trained, tmp_path):
    # Gray images, which differ by nothing but their noise.
    for part, number in (('train', 20), ('val', 15)):
        for label, name in enumerate('ab'):
            for image in range(number):
                path = tmp_path / part / name / f'{image}.png'
                draw(path, (90 + 8 * label,) * 3, 1000 * label + number * 10 + image, (32, 32))
    found = hvs_mm.evaluate(trained('small_resnet'), tmp_path, tmp_path / 'eval.json', k=1)
    known, test = (hvs_mm.embed(trained('small_resnet'), tmp_path / p) for p in ('train', 'val'))
    directions = [e.features / np.linalg.norm(e.features, axis=1)[:, None] for e in (known, test)]
    oracle = KNeighborsClassifier(1).fit(directions[0], known.labels)
    assert found.knn.top1 == pytest.approx(100 * oracle.score(directions[1], test.labels))


@pytest.mark.parametrize(
    ('layout', 'text'),
    [
        (
            ['1.png', '2.png'],
            'there are no labels, 2 images lie in no class folder. Accuracy needs',
        ),
        (['cat/1.png', 'cat/2.png'], "all images are of one class, 'cat'. Accuracy needs"),
        (['cat/1.png', 'cat/2.png', 'dog/1.png'], "the class folder 'dog' has a single image"),
        (['train/cat/1.png', 'train/cat/2.png'], "all images are of one class, 'cat'"),
    ],
)
def test_no_labels(layout, text, tmp_path, refused):
    for name in layout:
        draw(tmp_path / name, (9, 9, 9), 0, (32, 32))
    message = refused('eval', 'run', '--data', tmp_path)
    assert text in message
    assert 'hvs-mm embed' in message


def test_list_of_images_has_no_labels(tmp_path, refused):
    draw(tmp_path / '1.png', (9, 9, 9), 0, (32, 32))
    (tmp_path / 'list.txt').write_text('1.png\n')
    message = refused('eval', 'run', '--data', tmp_path / 'list.txt')
    assert 'a list of images has no labels' in message


def test_mistakes(trained, class_images, refused):
    run = trained('small_resnet')
    message = refused('eval', run, '--data', class_images, '--k', '0')
    assert 'every number of neighbors must be at least 1' in message
    message = refused('eval', run, '--data', class_images, '--k', '37')
    assert 'the bank has only 36 images' in message
    message = refused('eval', run, '--data', class_images, '--out', '/proc/x/eval.json')
    assert 'cannot be written' in message
