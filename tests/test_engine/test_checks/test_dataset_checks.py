"""Which images a run reads, before it starts."""

from __future__ import annotations

import os

import pytest
from mmpretrain.datasets import CustomDataset

from hvs_mm.engine import preflight
from tests.helpers.hostile_images import write
from tests.helpers.tiny_classifier import classifier_config, write_folders
from tests.test_engine.test_checks.test_loader_checks import config, refused
from tests.test_engine.test_checks.test_preflight import config as plain_config
from tests.test_engine.test_hooks.test_bad_images_hook import PIPELINE


@pytest.mark.parametrize('way', ['folder', 'file', 'indices', 'repeat', 'concat', 'shapes'])
def test_images_are_counted_in_every_data_set(folder, way, tmp_path):
    cfg = config(folder, batch_size=7)
    one = dict(cfg.train_dataloader.dataset, data_root=str(folder / 'one'))
    if way == 'file':
        (tmp_path / 'list.txt').write_text('\n'.join(f'one/00{n}.jpg' for n in range(4)))
        dataset = dict(one, data_root=str(folder), ann_file=str(tmp_path / 'list.txt'))
    elif way == 'indices':
        dataset = dict(cfg.train_dataloader.dataset, indices=4)
    elif way == 'shapes':
        dataset = dict(type='ShapesDataset', num_samples=4, pipeline=PIPELINE[1:])
    else:
        dataset = one
    if way == 'repeat':
        for times in (1, 2):
            cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=times, dataset=dataset)
            preflight(cfg) if times == 2 else refused(cfg, 'the 4 images')
    elif way == 'concat':
        for number in (1, 2):
            datasets = [dataset] * number
            cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=datasets)
            preflight(cfg) if number == 2 else refused(cfg, 'the 4 images')
    else:
        cfg.train_dataloader.dataset = dataset
        refused(cfg, 'the 4 images')
        cfg.train_dataloader.batch_size = 4
        preflight(cfg)


def test_an_annotation_file_without_an_end(folder, tmp_path):
    cfg = config(folder)
    huge = tmp_path / 'huge.txt'
    with huge.open('wb') as file:
        file.truncate(2**42)
    os.mkfifo(tmp_path / 'pipe')
    for path in (huge, tmp_path / 'pipe', '/dev/zero'):
        cfg.train_dataloader.dataset.ann_file = str(path)
        refused(cfg, rf"train_dataloader\.dataset: '{path}' is .*, and would be read whole")


@pytest.mark.parametrize('with_label', [False, True])
def test_a_link_back_to_a_folder_around_it(folder, with_label):
    cfg = config(folder)
    cfg.train_dataloader.dataset.with_label = with_label
    # One to a folder elsewhere is none.
    (folder / 'two/other').symlink_to(folder / 'one')
    preflight(cfg)
    (folder / 'two/up').symlink_to('..')
    # What upstream makes of it.
    with pytest.raises(OSError, match='Too many levels of symbolic links'):
        CustomDataset(data_root=str(folder), data_prefix='', with_label=with_label)
    refused(
        cfg, r"train_dataloader.dataset: the link '.*/two/up' to '\.\.' leads back to '.*data/'"
    )
    (folder / 'two/up').unlink()
    # To one above all: the link is what is named, not a folder behind it.
    (folder / 'two/above').symlink_to('../..')
    refused(cfg, r"the link '.*/two/above' to '\.\./\.\.' leads back to '.*/data/'")
    (folder / 'two/above').unlink()
    # Around a corner.
    (folder / 'one/other').symlink_to(folder / 'two')
    refused(cfg, r"the link '.*/other' to '.*/(one|two)' leads back to '.*/(one|two)'")
    (folder / 'one/other').unlink()
    (folder / 'one/self').symlink_to('self')
    refused(cfg, r"one/self' leads nowhere \(Too many levels")
    (folder / 'one/self').unlink()
    (folder / 'one/dangling.jpg').symlink_to('nothing')
    preflight(cfg)


def test_what_counts_is_what_upstream_lists(folder):
    write(folder / 'one', {'.hidden.jpg': b'', 'a.txt': b'', 'A.JPG': b''})
    write(folder / 'two/.folder/deep', {'a.png': b''})
    (folder / 'two/dangling.jpg').symlink_to('nothing')
    (folder / 'two/link.jpg').symlink_to(folder / 'one/000.jpg')
    write(folder, {'beside.jpg': b''})
    (folder / 'linked').symlink_to(folder / 'one')
    (folder / 'folder.jpg').mkdir()
    for with_label in (False, True):
        cfg = config(folder)
        cfg.train_dataloader.dataset.with_label = with_label
        dataset = CustomDataset(data_root=str(folder), data_prefix='', with_label=with_label)
        cfg.train_dataloader.update(batch_size=1000)
        refused(cfg, f'the {len(dataset)} images')


def test_folders_without_images(folder):
    cfg = config(folder)
    cfg.train_dataloader.dataset.extensions = ('.webp',)
    refused(cfg, r"no images below '.*data/', no names that end in \['\.webp'\]")
    cfg = config(folder / 'one')
    cfg.train_dataloader.dataset.with_label = True
    refused(cfg, r'no images in class folders below')


def test_a_folder_that_cannot_be_listed(folder, monkeypatch):
    def scandir(path):
        if str(path).endswith('two'):
            raise PermissionError(13, 'Permission denied', path)
        return original(path)

    original = os.scandir
    monkeypatch.setattr(os, 'scandir', scandir)
    refused(config(folder), r"two': the images in this folder cannot be listed \(Permission denied")


def test_missing_data_root(tmp_path):
    cfg = plain_config()
    cfg.train_dataloader.dataset = dict(
        type='ImageNet', data_root='data/imagenet/', split='train', pipeline=[]
    )
    with pytest.raises(FileNotFoundError) as error:
        preflight(cfg)
    for part in ("'data/imagenet/' does not exist", 'data_root=PATH', 'make demo', 'docs/'):
        assert part in str(error.value)
    cfg.train_dataloader.dataset.data_root = str(tmp_path)
    with pytest.raises(FileNotFoundError, match=r'train.* does not exist'):
        preflight(cfg)
    (tmp_path / 'train').mkdir()
    with pytest.raises(ValueError, match=r"no images in class folders below '.*train'"):
        preflight(cfg)
    write_folders(tmp_path)
    preflight(cfg)
    cfg.train_dataloader.dataset.ann_file = 'meta/train.txt'
    with pytest.raises(FileNotFoundError, match=r'train\.txt'):
        preflight(cfg)


def test_missing_data_root_inside_a_wrapper():
    cfg = plain_config()
    inner = dict(type='ImageNet', data_root='nowhere', split='train', pipeline=[])
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=inner)
    with pytest.raises(FileNotFoundError, match=r'train_dataloader\.dataset\.dataset'):
        preflight(cfg)


def test_a_data_set_that_is_downloaded(tmp_path, checkpoint):
    root = tmp_path / 'cifar'
    cfg = classifier_config(tmp_path, checkpoint)
    cfg.model.head.num_classes = 10
    cfg.val_dataloader = None
    cfg.train_dataloader.dataset = dict(type='CIFAR10', data_root=str(root), pipeline=[])
    with pytest.raises(FileNotFoundError, match='Make that folder and CIFAR10 is downloaded'):
        preflight(cfg)
    root.mkdir()
    preflight(cfg)
    cfg.model.head.num_classes = 9
    with pytest.raises(ValueError, match=r'num_classes=9, but .* has 10 classes'):
        preflight(cfg)
    assert not list(root.iterdir())


def test_what_only_testing_reads(folders, checkpoint):
    cfg = classifier_config(folders, checkpoint)
    cfg.test_dataloader.dataset.data_root = 'nowhere'
    preflight(cfg)
