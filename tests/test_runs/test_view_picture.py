"""``hvs-mm views``, ``report`` and ``compare``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from hvs_mm_cli.main import main
from tests.helpers.hostile_images import plain_images
from tests.helpers.runs import draw
from tests.helpers.tar_shards import write_shards


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with images that are not sorted into classes."""
    monkeypatch.chdir(tmp_path)
    for image in range(20):
        draw(Path('images') / f'{image}.jpg', (10 * image, 90, 90), image, (80, 70))
    return tmp_path


def test_views(folder, command):
    shown = command('views', '--data', 'images').splitlines()
    assert shown[0].startswith('images    20 images, median short side 70 px')
    assert '4 candidates, the hardest 2 are kept' in shown[-2]
    assert shown[-1] == f'written: {Path("views.png")}'
    pictures = []
    # Of one image: the layout of several may move by a pixel.
    for seed in ('0', '0', '1'):
        command('views', '--data', 'images', '--number', '1', '--seed', seed)
        pictures.append(Path('views.png').read_bytes())
    assert pictures[0] == pictures[1] != pictures[2]
    assert not list(Path().glob('.*'))


def test_views_of_a_damaged_shard(folder, capsys, refused):
    (shard,) = write_shards(folder, list(plain_images(30).values()), 1, kind='jpg')
    # After the twentieth image and its label.
    content = shard.read_bytes()
    shard.write_bytes(content[: content.index(b'0020.jpg') + 100])
    main(['views', '--data', 'x-{000..000}.tar', '--number', '1'])
    shown = capsys.readouterr()
    (warning,) = shown.err.splitlines()
    assert re.fullmatch(
        rf'warning: damaged shard: {shard} .* Its 20 images before that are used, .*', warning
    )
    assert '2 classes' in shown.out
    message = refused('views', '--data', 'x-{000..002}.tar')
    assert "x-001.tar' does not exist, nor do 1 more of 3 shards: name" in message


def test_views_of_a_method_and_number(folder, command):
    sizes = []
    for number in ('1', '3'):
        shown = command('views', '--data', 'images', '--method', 'dino', '--number', number,
                        '--image-size', '32', '--out', 'new/dino.jpg')  # fmt: skip
        assert 'crops of 32 px and 4 of' in shown
        picture = Image.open('new/dino.jpg')
        assert picture.format == 'JPEG'
        sizes.append(picture.size[1])
    assert sizes[1] == pytest.approx(3 * sizes[0], rel=0.02)


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        (['--out', 'views.txt'], '--out views.txt: its name must end in .png or .jpg'),
        (['--out', '/proc/views.png'], 'cannot be written'),
        (['--number', '0'], '--number=0 must be an integer of at least 1'),
        (['--method', 'dnio'], "--method 'dnio' is unknown: did you mean 'dino'?"),
        (['--views', '1'], '--views 1 leaves no choice'),
        (['--model', 'vit-tiny', '--image-size', '50'], 'is no multiple of'),
        (['--data', 'none'], 'there is no such folder'),
    ],
)
def test_mistakes(options, text, folder, refused):
    assert text in refused('views', '--data', 'images', *options)
    assert [path.name for path in Path().iterdir()] == ['images']


def test_compare_and_report(folder, trained, command, refused):
    run = trained('resnet')
    shown = command('compare', run, '--csv', 'table.csv', '--plot', 'plot.png')
    assert 'SimCLR' in shown
    assert Path('table.csv').read_text().startswith('run,')
    shown = command('report', run, '--out', 'report.html')
    assert shown == 'report: report.html\n'
    assert 'SimCLR' in Path('report.html').read_text()
    for name in ('compare', 'report'):
        assert 'it takes at least 1 neighbor' in refused(name, run, '--k', '0')
        assert 'does not exist' in refused(name, 'none')
        assert 'is no work dir' in refused(name, 'images')
