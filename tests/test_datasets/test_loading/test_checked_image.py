"""``LoadCheckedImage`` on real files, read by the real loader."""

from __future__ import annotations

import io
import os
import random
import resource
import tempfile
import zlib
from contextlib import suppress
from functools import cache
from pathlib import Path
from traceback import clear_frames

import cv2
import mmcv
import numpy as np
import pytest
import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmpretrain.datasets import CustomDataset
from mmpretrain.datasets.transforms import MultiView
from PIL import Image
from torch.utils.data import DataLoader

from hvs_mm.datasets import CandidateViews, LoadCheckedImage
from hvs_mm.datasets.loading.checked_image import MAX_PIXELS
from hvs_mm.datasets.loading.image_headers import declared_size
from hvs_mm.utils.bad_images import SKIPPED_FIELD, BadImage, BadImagesError, describe
from hvs_mm.utils.state_guard import own_random_numbers
from tests.helpers.hostile_images import (
    bad_images,
    encode,
    give_up_rights,
    good_images,
    pixels,
    plain_images,
    png,
    png_chunk,
    without_rights,
    write,
)
from tests.helpers.tools import ROOT

GOOD = good_images()
BAD = bad_images()
#: As in the configs, with one small view.
CROP = dict(type='RandomResizedCrop', scale=8, crop_ratio_range=(0.2, 1.0))
PIPELINE = [
    dict(type='LoadCheckedImage'),
    dict(type='CandidateViews', num_views=[2], transforms=[[CROP]]),
    dict(type='PackViews'),
]


def load(path, **settings):
    return LoadCheckedImage(**settings)({'img_path': str(path)})


def images_of(folder, pipeline=PIPELINE, **settings):
    return CustomDataset(
        data_root=str(folder), data_prefix='', with_label=False, pipeline=pipeline, **settings
    )


def batches(dataset, num_workers, batch_size=4):
    return DataLoader(dataset, batch_size, num_workers=num_workers, collate_fn=default_collate)


def samples_of(packed):
    return [one['data_samples'] for one in packed]


def error_of(dataset, num_workers):
    """The text of the error that ends the loader."""
    with pytest.raises(BadImagesError) as error:
        list(batches(dataset, num_workers))
    # They hold the loader, whose workers take 5 s to end if garbage collection comes across it.
    clear_frames(error.tb)
    return str(error.value)


def reported(samples):
    return [image for sample in samples for image in sample.get(SKIPPED_FIELD, ())]


# --- Good images -----------------------------------------------------------------------------


@pytest.mark.parametrize('name', GOOD)
@pytest.mark.parametrize(
    'settings',
    [
        {},
        {'imdecode_backend': 'pillow'},
        {'to_float32': True},
        {'color_type': 'unchanged'},
        {'color_type': 'grayscale_ignore_orientation'},
    ],
)
def test_the_pixels_are_upstreams(tmp_path, name, settings):
    (path,) = write(tmp_path, {name: GOOD[name]})
    ours = load(path, **settings)
    theirs = LoadImageFromFile(**settings)({'img_path': path})
    assert ours.keys() == theirs.keys()
    np.testing.assert_array_equal(ours['img'], theirs['img'])
    assert ours['img'].dtype == theirs['img'].dtype
    for key in ('img_shape', 'ori_shape', 'img_path'):
        assert ours[key] == theirs[key]


def test_what_upstream_makes_of_odd_images(tmp_path):
    def loaded(name):
        return load(write(tmp_path, {name: GOOD[name]})[0])['img']

    upright = loaded('plain.jpg')
    # T.81 and EXIF 2.3: how often the stored picture is to be turned clockwise, and mirrored before
    turns = {1: (0, 0), 2: (0, 1), 3: (2, 0), 4: (2, 1), 5: (3, 1), 6: (1, 0), 7: (1, 1), 8: (3, 0)}
    for orientation, (quarters, mirrored) in turns.items():
        expected = upright[:, ::-1] if mirrored else upright
        np.testing.assert_array_equal(
            loaded(f'exif{orientation}.jpg'), np.rot90(expected, -quarters)
        )
    np.testing.assert_array_equal(loaded('exif.png'), np.rot90(pixels()[..., ::-1], -1))
    # Transparency is dropped: the colors below it are seen.
    for name in ('plain.png', 'alpha.png'):
        np.testing.assert_array_equal(loaded(name), pixels()[..., ::-1])
    np.testing.assert_array_equal(loaded('palette.png'), loaded('palette_transparent.png'))
    colors = np.asarray(Image.fromarray(pixels()).quantize(8).convert('RGB'))
    np.testing.assert_array_equal(loaded('palette.png'), colors[..., ::-1])
    # Four inks without a color profile: about the colors they were made from.
    assert np.abs(loaded('cmyk.jpg').astype(int) - pixels()[..., ::-1]).mean() < 8


# --- Bad images ------------------------------------------------------------------------------


@pytest.mark.parametrize('name', BAD)
def test_a_bad_image_is_refused(tmp_path, name, capfd):
    content, reason = BAD[name]
    (path,) = write(tmp_path, {name: content})
    assert load(path) is None
    with pytest.raises(BadImagesError) as error:
        load(path, bad_images='error')
    assert str(error.value).startswith(f'{path}: {reason}')


def test_images_of_16_bits_as_they_are(tmp_path):
    (path,) = write(tmp_path, {'deep.png': BAD['bits16.png'][0]})
    image = load(path, color_type='unchanged')['img']
    assert (image.dtype, image.min()) == (np.uint16, 4095)


def test_every_cut_is_refused(capfd):
    # Smaller ones have their pixels in the last bytes only.
    image = pixels(60, 40)
    decode = LoadCheckedImage().decode
    for content in (
        encode(image, 'JPEG'),
        encode(image, 'JPEG', progressive=True),
        GOOD['thumbnail.jpg'],
        encode(image, 'PNG'),
        encode(image, 'BMP'),
    ):
        decode(content)
        for length in range(0, len(content), 1 + len(content) // 400):
            with pytest.raises(ValueError, match=r'empty|truncated|no image|cannot be decoded'):
                decode(content[:length])


def test_random_damage_is_refused_or_decoded(capfd):
    rng = random.Random(0)
    decode = LoadCheckedImage(max_pixels=10**4).decode
    refused = 0
    for content in (GOOD['plain.jpg'], GOOD['progressive.jpg'], GOOD['palette.png']):
        for _ in range(200):
            damaged = bytearray(content)
            for _ in range(rng.randint(1, 8)):
                damaged[rng.randrange(2, len(damaged))] = rng.randrange(256)
            try:
                image = decode(bytes(damaged))
            except ValueError:
                refused += 1
            else:
                assert image.dtype == np.uint8
                assert image.size <= 3 * 10**4
    assert refused > 200


def test_nothing_beyond_the_limit_is_decoded(tmp_path, monkeypatch):
    decoded = []
    original = mmcv.imfrombytes

    def spy(content, **settings):
        decoded.append(declared_size(content))
        return original(content, **settings)

    monkeypatch.setattr(mmcv, 'imfrombytes', spy)
    paths = write(tmp_path, {name: BAD[name][0] for name in ('bomb.jpg', 'bomb.png')})
    # They are small, and the second one is valid: it could be decoded.
    assert all(os.path.getsize(path) < 50_000 for path in paths)
    assert cv2.imread(paths[1], cv2.IMREAD_GRAYSCALE).size == 10**8 > MAX_PIXELS
    for path in paths:
        assert load(path) is None
    # As far as the header goes, of every format.
    for kind in ('JPEG', 'PNG', 'BMP', 'WEBP', 'TIFF'):
        (path,) = write(tmp_path, {f'a.{kind}': encode(pixels(30, 20), kind)})
        assert load(path, max_pixels=599) is None
        assert decoded == []
        assert load(path, max_pixels=600)['img'].shape == (20, 30, 3)
        assert decoded.pop() == (30, 20)


def test_a_bomb_that_pillow_refuses():
    # 2 bytes a pixel are not there, but the header says so.
    tiff = bytearray(encode(np.zeros((1, 1), np.uint8), 'TIFF'))
    with Image.open(io.BytesIO(bytes(tiff))) as image:
        assert image.size == (1, 1)
    bmp = bytearray(encode(pixels(4, 4), 'BMP'))
    bmp[18:26] = (60000).to_bytes(4, 'little') * 2
    with pytest.raises(ValueError, match='too large'):
        LoadCheckedImage().decode(bytes(bmp))


def test_metadata_that_pillow_refuses():
    # Pillow reads no text of more than a megabyte; it says nothing of the pixels.
    text = png_chunk(b'zTXt', b'a\0\0' + zlib.compress(bytes(2**22)))
    rows = b''.join(b'\0' + row.tobytes() for row in pixels(3, 2))
    content = png(3, 2, 8, 2, rows, text)
    with pytest.raises(ValueError, match='too large'):
        Image.open(io.BytesIO(content)).load()
    np.testing.assert_array_equal(LoadCheckedImage().decode(content), pixels(3, 2)[..., ::-1])


def test_files_that_cannot_be_opened(tmp_path):
    with pytest.raises(BadImagesError, match=r'gone\.jpg: cannot be read: No such file'):
        load(tmp_path / 'gone.jpg', bad_images='error')
    (tmp_path / 'folder.jpg').mkdir()
    with pytest.raises(BadImagesError, match=r'folder\.jpg: cannot be read: Is a directory'):
        load(tmp_path / 'folder.jpg', bad_images='error')
    assert load(tmp_path / 'gone.jpg') is None


def test_files_that_must_not_be_read_whole(tmp_path):
    huge = tmp_path / 'huge.jpg'
    with huge.open('wb') as file:
        # Sparse: it takes no space on the disk.
        file.truncate(2**42)
    with pytest.raises(BadImagesError, match=r'huge\.jpg: too large: 4398046511104 bytes, max_by'):
        load(huge, bad_images='error')
    os.mkfifo(tmp_path / 'pipe.jpg')
    # Opening it waits for a writer, and the device never ends.
    for path in (tmp_path / 'pipe.jpg', '/dev/zero'):
        with pytest.raises(BadImagesError, match='no image: a pipe, socket or device'):
            load(path, bad_images='error')
    (good,) = write(tmp_path, {'a.jpg': GOOD['plain.jpg']})
    size = os.path.getsize(good)
    assert load(good, max_bytes=size)
    assert load(good, max_bytes=size - 1) is None


@pytest.fixture
def public_folder():
    """A folder that everybody may read; those of pytest are closed to others."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def test_files_that_may_not_be_read(public_folder):
    paths = write(public_folder, plain_images(3))
    os.chmod(paths[1], 0)
    dataset = images_of(public_folder)
    denied = pytest.raises(BadImagesError, match=r'001\.jpg: cannot be read: Permission denied')
    with without_rights(), denied:
        load(paths[1], bad_images='error')
    # Only the worker gives them up: a process imports from where others may not read. It returns no
    # tensors: their sockets lie in a folder that is closed to others if an earlier test made it.
    loader = DataLoader(
        dataset, 2, num_workers=1, collate_fn=samples_of, worker_init_fn=give_up_rights
    )
    samples = [sample for batch in loader for sample in batch]
    assert {sample.img_path for sample in samples} <= {paths[0], paths[2]}
    assert {image.path for image in reported(samples)} == {paths[1]}


def test_trouble_of_the_machine_is_not_the_images(tmp_path, monkeypatch):
    (path,) = write(tmp_path, plain_images(1))
    loader = LoadCheckedImage()
    assert loader({'img_path': path})
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limits[0], 256), limits[1]))
    files = []
    try:
        with suppress(OSError):
            while True:
                files.append(os.open(path, os.O_RDONLY))
        with pytest.raises(OSError, match='Too many open files'):
            loader({'img_path': path})
    finally:
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    def no_memory(*args, **kwargs):
        error = cv2.error('Insufficient memory')
        error.code = cv2.Error.StsNoMem
        raise error

    monkeypatch.setattr(mmcv, 'imfrombytes', no_memory)
    with pytest.raises(MemoryError):
        loader({'img_path': path})


# --- In the loader ---------------------------------------------------------------------------


@pytest.mark.parametrize('num_workers', [0, 2])
def test_bad_images_are_skipped_and_reported(tmp_path, num_workers, capfd):
    good = write(tmp_path, plain_images(20))
    bad = write(tmp_path, {name: content for name, (content, _) in BAD.items() if '.jpg' in name})
    gone = write(tmp_path, {'vanishes.jpg': GOOD['plain.jpg']})
    dataset = images_of(tmp_path)
    os.remove(gone[0])
    expected = set(bad + gone)
    assert len(dataset) == len(good) + len(expected)
    samples = []
    for batch in batches(dataset, num_workers):
        assert all(view.shape[1:] == (3, 8, 8) for view in batch['inputs'])
        samples += batch['data_samples']
    # Every image was drawn: the good ones are all there, the bad ones have others in their place.
    assert len(samples) == len(dataset)
    assert {sample.img_path for sample in samples} == set(good)
    # The last ones of a worker have no good one after them; there are none of these here.
    images = reported(samples)
    assert {image.path for image in images} == expected
    for image in images:
        name = Path(image.path).name
        reason = BAD[name][1] if name in BAD else 'cannot be read: No such file or directory'
        assert reason in image.reason
    # Those drawn in place of bad ones may be bad, too; none is reported twice otherwise.
    assert len(expected) <= len(images) < 2 * len(expected) + 10


def test_each_refusal_is_reported_once(tmp_path):
    good, bad = write(tmp_path, {'a.jpg': GOOD['plain.jpg'], 'b.jpg': b''})
    dataset = images_of(tmp_path)
    assert [sample.img_path for sample in (dataset[i]['data_samples'] for i in (0, 0))] == [
        good
    ] * 2
    reads = dataset.pipeline.transforms[0]
    assert reads({'img_path': bad}) is None
    assert reads({'img_path': bad}) is None
    sample = dataset[0]['data_samples']
    assert sample.get(SKIPPED_FIELD) == (BadImage(bad, 'the file is empty'),) * 2
    assert SKIPPED_FIELD not in dataset[0]['data_samples']


def test_nothing_is_lost_where_a_later_transform_gives_up(tmp_path):
    bad = write(tmp_path, {'a.jpg': GOOD['plain.jpg'], 'b.jpg': b''})[1]
    dataset = images_of(tmp_path)
    answers = iter([None])
    dataset.pipeline.transforms.insert(1, lambda results: next(answers, results))
    assert dataset.prepare_data(1) is None
    assert dataset.prepare_data(0) is None
    assert reported([dataset.prepare_data(0)['data_samples']]) == [
        BadImage(bad, 'the file is empty')
    ]


@pytest.mark.parametrize('num_workers', [0, 1])
def test_only_bad_images(tmp_path, num_workers, capfd):
    write(tmp_path, {f'{number}.jpg': b'no image' for number in range(30)})
    message = error_of(images_of(tmp_path), num_workers)
    assert message.startswith('100 bad images one after the other, max_in_row=100')
    assert f'{tmp_path}/0.jpg (no image: none of the formats' in message
    assert message.count('.jpg') == 5
    assert 'Traceback' not in message


def test_a_good_image_ends_a_row(tmp_path):
    good, bad = write(tmp_path, {'a.jpg': GOOD['plain.jpg'], 'b.jpg': b''})
    loader = LoadCheckedImage(max_in_row=3)
    for _ in range(4):
        for path in (bad, bad, good):
            loader({'img_path': path})
    loader({'img_path': bad})
    loader({'img_path': bad})
    with pytest.raises(BadImagesError, match=r'3 bad images .* max_in_row=3'):
        loader({'img_path': bad})


@pytest.mark.parametrize('num_workers', [0, 1])
def test_evaluation_takes_no_other_image(tmp_path, num_workers):
    paths = write(tmp_path, {**plain_images(3), '001.jpg': BAD['truncated.jpg'][0]})
    pipeline = [dict(type='LoadCheckedImage', bad_images='error'), dict(type='PackInputs')]
    dataset = images_of(tmp_path, pipeline, test_mode=True)
    assert error_of(dataset, num_workers).startswith(f'{paths[1]}: truncated')


def test_descriptions():
    images = [BadImage(f'{number}.jpg', 'empty') for number in (0, 1, 1, 2, 3)]
    assert describe(images, 2) == '0.jpg (empty), 1.jpg (empty), and 2 more'
    assert describe(images[:1]) == '0.jpg (empty)'


@pytest.mark.parametrize(
    'settings',
    [
        {'max_pixels': 0},
        {'max_pixels': 1e6},
        {'max_pixels': True},
        {'max_bytes': 0},
        {'max_in_row': 0},
        {'bad_images': 'ignore'},
        {'color_type': 'colour'},
        {'imdecode_backend': 'turbojpeg'},
    ],
)
def test_wrong_settings(settings):
    ((name, value),) = settings.items()
    with pytest.raises(ValueError, match=f'{name}={value!r} must be'):
        LoadCheckedImage(**settings)


# --- Views of images of extreme shapes -------------------------------------------------------


@cache
def views_of(config):
    cfg = Config.fromfile(ROOT / 'configs' / f'{config}.py')
    step = next(s for s in cfg.train_dataloader.dataset.pipeline if s['type'] == 'CandidateViews')
    return step['transforms'], step['num_views']


@pytest.mark.parametrize('config', ['hvs_simsiam_100e', 'hvs_dino_300e'])
@pytest.mark.parametrize(('width', 'height'), [(1, 1), (20000, 10), (10, 20000), (1, 300)])
def test_views_of_extreme_shapes(tmp_path, config, width, height):
    transforms, counts = views_of(config)
    (path,) = write(tmp_path, {'a.png': encode(pixels(width, height), 'PNG')})
    drawn = {}
    for name, draw in {
        'upstream': MultiView(transforms, counts),
        'exact': CandidateViews(transforms, counts, exact=True),
        'fast': CandidateViews(transforms, counts),
    }.items():
        with own_random_numbers(0):
            results = draw(load(path))
        drawn[name] = results['img']
        assert len(drawn[name]) == sum(counts)
        if name != 'upstream':
            boxes = torch.from_numpy(results['view_boxes'])
            assert (boxes[:, :2] >= 0).all()
            assert (boxes[:, 2:] > boxes[:, :2]).all()
            assert (boxes[:, 2:] <= torch.tensor([width, height])).all()
    for upstream, exact, fast in zip(drawn['upstream'], drawn['exact'], drawn['fast']):
        np.testing.assert_array_equal(exact, upstream)
        assert fast.shape == upstream.shape
        assert fast.dtype == upstream.dtype == np.uint8
        off = np.abs(fast.astype(int) - upstream)
        assert off.max() <= 8
        assert (off > 1).mean() < 0.01
