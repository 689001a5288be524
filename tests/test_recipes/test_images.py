"""What is found in the folders and lists that users point at."""

from __future__ import annotations

import pytest

from hvs_mm.recipes import find_images
from hvs_mm.recipes.images import EXTENSIONS
from tests.helpers.images import class_names, write_images


def built(source):
    """The paths that upstream's data set lists for a source."""
    from mmpretrain.registry import DATASETS

    dataset = DATASETS.build(source.dataset())
    return [dataset.get_data_info(number)['img_path'] for number in range(len(dataset))]


def test_extensions_are_those_of_the_data_set():
    from mmpretrain.datasets import CustomDataset

    upstream = CustomDataset(data_root='.', lazy_init=True).extensions
    assert {*upstream, '.tiff'} == set(EXTENSIONS)


@pytest.mark.parametrize('names', [
    ['b.png', 'a.png'], ['x/1.png', 'x/y/2.png', 'z.JPG'], class_names(['cat', 'dog'], 2),
])  # fmt: skip
def test_a_folder(tmp_path, names):
    source = find_images(write_images(tmp_path, names))
    assert sorted(source.paths) == sorted(names)
    assert sorted(built(source)) == sorted(str(tmp_path / name) for name in names)
    assert source.median_side == 32


def test_names_that_upstream_does_not_list(tmp_path):
    source = find_images(write_images(tmp_path, ['a.tiff', 'b.png']))
    assert len(built(source)) == len(source) == 2


def test_class_folders(tmp_path):
    source = find_images(write_images(tmp_path, class_names(['dog', 'cat'], 3)))
    assert source.classes == ('cat', 'dog')
    assert source.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert source.describe() == '6 images, median short side 32 px, 2 class folders'


@pytest.mark.parametrize('names', [
    ['a/1.png', 'a/2.png'],
    ['a/1.png', 'a/2.png', 'b/1.png'],
    ['a/1.png', 'a/2.png', 'b/1.png', 'b/2.png', 'c.png'],
], ids=['one class', 'a class of one', 'an image beside'])  # fmt: skip
def test_folders_that_are_no_classes(tmp_path, names):
    assert find_images(write_images(tmp_path, names)).classes == ()


def test_folders_of_training_and_validation(tmp_path):
    write_images(tmp_path / 'train', class_names(['cat', 'dog'], 3))
    write_images(tmp_path / 'val', class_names(['cat', 'dog'], 2))
    source = find_images(tmp_path)
    assert (len(source), len(source.held_out), source.prefix) == (6, 4, 'train')
    assert source.held_out.classes == source.classes
    assert len(built(source)) == 6


def test_validation_with_other_classes_does_not_count(tmp_path):
    write_images(tmp_path / 'train', class_names(['cat', 'dog'], 3))
    write_images(tmp_path / 'val', class_names(['cat', 'cow'], 2))
    assert find_images(tmp_path).held_out is None


def test_a_list(tmp_path):
    write_images(tmp_path / 'pictures', ['a b.png', 'c.png', 'd.png'])
    path = tmp_path / 'list.txt'
    path.write_text(f'pictures/a b.png\n{tmp_path}/pictures/c.png\n')
    source = find_images(path)
    assert len(source) == 2
    assert built(source) == [str(tmp_path / 'pictures' / name) for name in ('a b.png', 'c.png')]


def test_links(tmp_path):
    write_images(tmp_path / 'elsewhere', ['1.png'])
    write_images(tmp_path / 'images', ['2.png', 'sub/3.png'])
    (tmp_path / 'images' / 'link').symlink_to(tmp_path / 'elsewhere')
    (tmp_path / 'images' / 'sub' / 'loop').symlink_to(tmp_path / 'images')
    assert find_images(tmp_path / 'images').paths == ('2.png', 'link/1.png', 'sub/3.png')


def test_broken_images_do_not_count_for_the_size(tmp_path):
    write_images(tmp_path, ['1.png'], (200, 100))
    (tmp_path / '2.jpg').write_bytes(b'no image')
    assert find_images(tmp_path).median_side == 100


@pytest.mark.parametrize(('make', 'error', 'text'), [
    (lambda path: path / 'missing', FileNotFoundError, "missing': there is no such folder or file"),
    (lambda path: path, ValueError, 'there are no images below'),
    (lambda path: write_text(path / 'l.txt', ''), ValueError, 'names no images'),
    (lambda path: write_text(path / 'l.txt', 'x.png\n\n'), ValueError, 'line 2 is empty, remove'),
    (lambda path: write_text(path / 'l.txt', 'x.png'), FileNotFoundError, "'x.png' does not exist"),
    (lambda path: write_bytes(path / 'l.txt', b'\xff\xfe'), ValueError, 'this is no text file'),
])  # fmt: skip
def test_errors(tmp_path, make, error, text):
    with pytest.raises(error, match=text) as raised:
        find_images(make(tmp_path))
    assert str(raised.value).startswith('--data')


def test_unreadable_images_only(tmp_path):
    (tmp_path / '1.jpg').write_bytes(b'no image')
    with pytest.raises(ValueError, match=r'none of 1 images tried .* \(1\.jpg: no image'):
        _ = find_images(tmp_path).median_side


def write_text(path, text):
    path.write_text(text)
    return path


def write_bytes(path, content):
    path.write_bytes(content)
    return path
