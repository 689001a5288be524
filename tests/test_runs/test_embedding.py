"""Features of folders of images: all layouts, broken files, and the files they are written to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mmpretrain.registry import DATASETS
from pyarrow import parquet

import hvs_mm
from hvs_mm.engine import build_model
from hvs_mm.evaluation import extract_features
from hvs_mm.evaluation.knn_evaluation import knn_loader
from hvs_mm.runs import embedding
from hvs_mm.runs.run_folder import open_run
from tests.helpers.runs import draw
from tests.helpers.tar_shards import write_shard


def flat(folder: Path, number: int = 5) -> Path:
    """A folder of images of mixed sizes, without classes."""
    for image in range(number):
        draw(folder / f'{image}.jpg', (90, 90, 90), image, (30 + 17 * image, 80 - 11 * image))
    return folder


def test_features_are_those_of_the_evaluation(trained, class_images):
    found = hvs_mm.embed(trained('resnet'), class_images / 'val', batch_size=5)
    run = open_run(trained('resnet'))
    steps = [dict(type='LoadCheckedImage', bad_images='error'), *run.pipeline]
    dataset = DATASETS.build(
        dict(type='CustomDataset', data_prefix=str(class_images / 'val'), pipeline=steps)
    )
    model = build_model(run.cfg)
    model.backbone.load_state_dict(run.backbone.state_dict())
    expected = extract_features(model, knn_loader(dataset, 4, 0))
    np.testing.assert_allclose(found.features, expected.features.numpy(), atol=1e-5)
    assert found.labels.tolist() == expected.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert found.classes == ('blue', 'green', 'red')
    assert (found.features.dtype, found.labels.dtype) == (np.float32, np.int64)
    assert found.files[:2] == ['blue/0.png', 'blue/1.png']
    assert found.skipped == []


def test_features_of_shards_are_those_of_the_files(trained, class_images, tmp_path):
    paths = sorted((class_images / 'val').rglob('*.png'))
    members = {}
    for number, path in enumerate(paths):
        members[f'{path.stem}-{path.parent.name}.png'] = path.read_bytes()
        members[f'{path.stem}-{path.parent.name}.cls'] = str(number // 4).encode()
    write_shard(tmp_path / 'x.tar', members)
    found = hvs_mm.embed(trained('small_resnet'), tmp_path / '*.tar')
    expected = hvs_mm.embed(trained('small_resnet'), class_images / 'val')
    np.testing.assert_array_equal(found.features, expected.features)
    assert found.labels.tolist() == expected.labels.tolist()
    assert found.files[0] == 'x.tar!/0-blue.png'


def test_folder_with_training_and_test_images(trained, class_images):
    found = hvs_mm.embed(trained('small_resnet'), class_images)
    assert len(found.features) == 3 * (12 + 4)
    assert found.files[0] == 'train/blue/0.png'
    assert found.files[-1] == 'val/red/3.png'
    for name, label in zip(found.files, found.labels):
        assert found.classes[label] == name.split('/')[1]


def test_image_in_no_class_folder_has_no_label(trained, tmp_path):
    for name in ('train/a/0.png', 'train/a/1.png', 'train/b/0.png', 'train/b/1.png', 'other.png'):
        draw(tmp_path / name, (9, 9, 9), 0, (32, 32))
    found = hvs_mm.embed(trained('small_resnet'), tmp_path)
    assert found.files[0] == 'other.png'
    assert found.labels.tolist() == [-1, 0, 0, 1, 1]


def test_layouts_without_labels(trained, tmp_path):
    run = trained('small_resnet')
    flat(tmp_path / 'flat')
    flat(tmp_path / 'nested' / 'deep' / 'er')
    (tmp_path / 'list.txt').write_text('flat/3.jpg\nflat/1.jpg\n')
    for data, files in (
        ('flat', [f'{image}.jpg' for image in range(5)]),
        ('nested', [f'deep/er/{image}.jpg' for image in range(5)]),
        ('list.txt', ['flat/3.jpg', 'flat/1.jpg']),
    ):
        found = hvs_mm.embed(run, tmp_path / data)
        assert found.files == files
        assert found.labels is None
        assert found.features.shape == (len(files), 512)


def test_features_do_not_depend_on_batches_or_workers(trained, tmp_path):
    flat(tmp_path / 'flat', 7)
    first = hvs_mm.embed(trained('small_resnet'), tmp_path / 'flat')
    second = hvs_mm.embed(
        trained('small_resnet'), tmp_path / 'flat', batch_size=2, num_workers=1, device='cpu'
    )
    np.testing.assert_allclose(first.features, second.features, atol=1e-5)
    assert first.files == second.files


def test_network(trained, tmp_path):
    flat(tmp_path / 'flat')
    teacher = hvs_mm.embed(trained('dino'), tmp_path / 'flat').features
    student = hvs_mm.embed(trained('dino'), tmp_path / 'flat', network='student').features
    named = hvs_mm.embed(trained('dino'), tmp_path / 'flat', network='teacher').features
    np.testing.assert_array_equal(teacher, named)
    assert not np.allclose(teacher, student)


def test_npz(trained, class_images, tmp_path, command):
    out = tmp_path / 'new' / 'features.npz'
    run = trained('small_resnet')
    shown = command('embed', run, '--data', class_images / 'val', '--out', out)
    assert shown.splitlines() == [
        'features: 12 images, 512 numbers each, labels of 3 classes',
        f'written: {out}',
    ]
    content = np.load(out)
    expected = hvs_mm.embed(run, class_images / 'val')
    assert content.files == ['features', 'files', 'labels', 'classes']
    np.testing.assert_array_equal(content['features'], expected.features)
    assert content['files'].tolist() == expected.files
    assert content['classes'][content['labels']].tolist() == [
        f.split('/')[0] for f in expected.files
    ]


def test_parquet(trained, tmp_path, command):
    for name in ('train/a/0.png', 'train/a/1.png', 'train/b/0.png', 'train/b/1.png', 'other.png'):
        draw(tmp_path / 'images' / name, (9, 9, 9), 0, (32, 32))
    # A file name that is no text.
    draw(tmp_path / 'images' / 'train' / 'b' / 'x\udcff.png', (9, 9, 9), 0, (32, 32))
    out = tmp_path / 'features.parquet'
    command('embed', trained('small_resnet'), '--data', tmp_path / 'images', '--out', out)
    table = parquet.read_table(out)
    assert table.column_names == ['file', 'feature', 'label', 'class']
    assert table['file'].to_pylist()[0] == 'other.png'
    assert table['file'].to_pylist()[-1] == 'train/b/x\\xff.png'
    assert table['label'].to_pylist() == [None, 0, 0, 1, 1, 1]
    assert table['class'].to_pylist() == [None, 'a', 'a', 'b', 'b', 'b']
    expected = hvs_mm.embed(trained('small_resnet'), tmp_path / 'images').features
    np.testing.assert_array_equal(np.array(table['feature'].to_pylist(), np.float32), expected)


def test_broken_images_are_left_out_and_named(trained, tmp_path, command):
    data = flat(tmp_path / 'flat')
    content = (data / '1.jpg').read_bytes()
    (data / '1.jpg').write_bytes(content[:100])
    (data / '7.png').write_text('no image')
    out = tmp_path / 'features.npz'
    shown = command('embed', trained('small_resnet'), '--data', data, '--out', out)
    line, *_ = shown.splitlines()
    assert line.startswith('left out 2 broken images: 1.jpg (')
    assert '7.png (' in line
    assert np.load(out)['files'].tolist() == ['0.jpg', '2.jpg', '3.jpg', '4.jpg']


def test_only_broken_images(trained, tmp_path, refused):
    for name in ('a.png', 'b.jpg'):
        (tmp_path / 'bad').mkdir(exist_ok=True)
        (tmp_path / 'bad' / name).write_text('no image')
    out = tmp_path / 'new' / 'features.npz'
    message = refused('embed', trained('small_resnet'), '--data', tmp_path / 'bad', '--out', out)
    assert 'none of the 2 images' in message
    assert 'a.png (' in message
    assert not list(out.parent.iterdir())


@pytest.mark.parametrize(
    ('out', 'text'),
    [
        ('features.csv', 'its name must end in .npz or .parquet'),
        ('taken.npz', 'exists: name another file, or add --force'),
        ('/proc/new/features.npz', 'cannot be written (No such file or directory)'),
        ('/sys/features.npz', 'cannot be written ('),
        ('taken.npz/features.npz', 'cannot be written ('),
    ],
)
def test_output_is_checked_before_the_work(out, text, tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    Path('taken.npz').write_text('precious')
    # No run and no images: nobody has looked at them yet.
    assert text in refused('embed', 'run', '--data', 'images', '--out', out)
    assert Path('taken.npz').read_text() == 'precious'


def test_force(trained, tmp_path, command):
    out = tmp_path / 'features.npz'
    out.write_text('old')
    data = flat(tmp_path / 'flat')
    command('embed', trained('small_resnet'), '--data', data, '--out', out, '--force')
    assert len(np.load(out)['features']) == 5


def test_failed_write_leaves_nothing(trained, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError('No space left on device')

    monkeypatch.setattr(embedding.np, 'savez', fail)
    out = tmp_path / 'out' / 'features.npz'
    with pytest.raises(OSError, match='No space left'):
        hvs_mm.embed(trained('small_resnet'), flat(tmp_path / 'flat'), out)
    assert not list(out.parent.iterdir())


def test_missing_pyarrow(monkeypatch, refused):
    monkeypatch.setattr(embedding, 'find_spec', lambda name: None)
    message = refused('embed', 'run', '--data', 'images', '--out', 'features.parquet')
    assert 'needs pyarrow: pip install "hvs-mm[export]", or name a .npz file' in message


def test_mistakes(trained, tmp_path, refused):
    run, out = trained('small_resnet'), tmp_path / 'x.npz'
    assert 'there is no such folder' in refused('embed', run, '--data', 'none', '--out', out)
    (tmp_path / 'empty').mkdir()
    message = refused('embed', run, '--data', tmp_path / 'empty', '--out', out)
    assert 'there are no images below' in message
    data = flat(tmp_path / 'flat')
    for option in ('--batch-size', '--num-workers'):
        message = refused('embed', run, '--data', data, '--out', out, option, '-1')
        assert f'{option[2:].replace("-", "_")}=-1 must be an integer' in message
    assert 'does not exist' in refused('embed', 'norun', '--data', data, '--out', out)
