"""The index of tar shards: which images there are, damage, and when it is read again."""

from __future__ import annotations

import gzip
import json
import os
import warnings

import numpy as np
import pytest
import webdataset

from hvs_mm.datasets.shards import tar_index
from hvs_mm.datasets.shards.addresses import TarAddresses, TarBackend
from hvs_mm.datasets.shards.tar_index import expand_shards, read_index
from tests.helpers.tar_shards import write_shard, write_shards


def read_all(index):
    backend = TarBackend()
    return [backend.get(address) for address in TarAddresses(index)]


def test_samples_are_those_of_webdataset(tmp_path):
    samples = [
        {'__key__': 'a/0.1/x', 'seg.png': b'mask', 'jpg': b'first', 'cls': 3},
        {'__key__': 'a/0.1/y', 'JPEG': b'second', 'json': {'label': 5, 'text': 'a: b'}},
        {'__key__': 'no_image', 'txt': 'words'},
        {'__key__': 'ä' * 120, 'json': {'label': 7}, 'png': b'third' * 999, 'cls': 1},
        {'__key__': 'http:://odd\nkey', 'webp': b'fourth'},
    ]
    for number, part in enumerate((samples[:3], samples[3:])):
        with webdataset.TarWriter(str(tmp_path / f's-{number}.tar')) as writer:
            for sample in part:
                writer.write(dict(sample))
    pattern = str(tmp_path / 's-{0..1}.tar')
    index = read_index(expand_shards(pattern))
    images = [
        (sample['__key__'], content)
        for sample in webdataset.WebDataset(pattern, shardshuffle=False)
        for kind, content in sample.items()
        if kind in ('jpg', 'jpeg', 'png', 'webp')
    ]
    assert [index.name(number).rpartition('.')[0] for number in range(4)] == [k for k, _ in images]
    assert read_all(index) == [content for _, content in images]
    assert index.label.tolist() == [3, 5, 1, -1]
    assert index.shard.tolist() == [0, 0, 1, 1]


def test_names_with_dots(tmp_path):
    write_shard(tmp_path / 'a.tar', {
        'photo.2021.0000.jpg': b'first', 'photo.2021.0001.jpg': b'second', 'photo.2021.2.jpg': b'',
        'other.17.png': b'third', 'mask.seg.png': b'mask', 'mask.jpg': b'fourth',
    })  # fmt: skip
    with pytest.warns(UserWarning, match=r'a\.tar: 2 images are left out, as each belongs to'):
        index = read_index([str(tmp_path / 'a.tar')])
    assert read_all(index) == [b'first', b'third', b'fourth']


def test_what_damaged_shards_have_lost(tmp_path):
    shards = write_shards(tmp_path, [bytes(600)] * 60, 3)
    assert read_index(list(map(str, shards))).damaged() == ([], 0)
    for shard in shards[1:]:
        shard.write_bytes(shard.read_bytes()[:3000])
    with pytest.warns(UserWarning, match='damaged shard'):
        index = read_index(list(map(str, shards)))
    lost = 60 - len(index)
    assert index.damaged() == ([str(shards[1]), str(shards[2])], lost)
    shards[0].write_bytes(shards[0].read_bytes()[:9000])
    with pytest.warns(UserWarning, match='damaged shard'):
        assert read_index(list(map(str, shards))).damaged()[1] >= 3


def test_a_shard_loses_what_comes_after_its_damage(tmp_path):
    contents = [bytes([number]) * (300 + 200 * number) for number in range(4)]
    path = tmp_path / 'cut.tar'
    ends = write_shard(path, {f'{number}.jpg': one for number, one in enumerate(contents)})
    whole = path.read_bytes()
    for cut in range(1, ends[-1] + 600, 397):
        path.write_bytes(whole[:cut])
        left = sum(end <= cut for end in ends)
        # The last cuts leave a block of zeros, the end of a tar file.
        is_whole = cut >= ends[-1] + -ends[-1] % 512 + 512
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            if left:
                assert read_all(read_index([str(path)])) == contents[:left]
            else:
                with pytest.raises(ValueError, match='there are no images in 1 shard'):
                    read_index([str(path)])
        assert len(caught) == (not is_whole)
        for warning in caught:
            text = f'damaged shard: {path} cannot be read from byte '
            assert str(warning.message).startswith(text)
            assert f' on. Its {left} images before that are used' in str(warning.message)


def test_a_header_of_garbage(tmp_path):
    contents = [bytes([number]) * 500 for number in range(4)]
    path, other = tmp_path / 'a.tar', tmp_path / 'b.tar'
    ends = write_shard(path, {f'{number}.jpg': one for number, one in enumerate(contents)})
    write_shard(other, {'0.jpg': b'good'})
    with path.open('r+b') as file:
        file.seek(ends[1] + -ends[1] % 512)
        file.write(np.random.default_rng(0).bytes(512))
    with pytest.warns(UserWarning, match=r'a\.tar cannot be read from byte 2048 on. Its 2 images'):
        index = read_index([str(path), str(other)])
    assert read_all(index) == [*contents[:2], b'good']


def test_a_sample_without_its_label_is_lost_with_it(tmp_path):
    (path,) = write_shards(tmp_path, [b'zero', b'one', b'two'], 1)
    content = path.read_bytes()
    # The label of the last one is the last thing in it.
    path.write_bytes(content[: content.rindex(b'0002.cls') + 512])
    with pytest.warns(UserWarning, match='damaged shard'):
        index = read_index([str(path)])
    assert (read_all(index), index.label.tolist()) == ([b'zero', b'one'], [0, 1])


@pytest.mark.parametrize(('pattern', 'message'), [
    ('x-{000..003}.tar', r"x-002\.tar' does not exist, nor do 1 more of 4 shards: name the shards"),
    ('y-*.tar', r"y-\*\.tar' does not exist: name"),
    ('x-{000..001.tar', 'a brace is missing'),
    ('zip.tar', r'is compressed, so .* unpack it first \(gunzip'),
    ('text.tar', 'there are no images in 1 shard'),
])  # fmt: skip
def test_errors(tmp_path, pattern, message):
    write_shards(tmp_path, [b'0', b'1'], 2)
    (tmp_path / 'zip.tar').write_bytes(gzip.compress(b'content'))
    write_shard(tmp_path / 'text.tar', {'a.txt': b'text'})
    with pytest.raises((FileNotFoundError, ValueError), match=message) as caught:
        read_index(expand_shards(tmp_path / pattern))
    assert '\n' not in str(caught.value)


def test_headers_are_read_once(tmp_path, monkeypatch):
    paths = [str(path) for path in write_shards(tmp_path / 'data', [b'0', b'1'], 2)]
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    scanned = []
    scan = tar_index.scan_shard
    monkeypatch.setattr(tar_index, 'scan_shard', lambda p: scanned.append(p) or scan(p))

    def number_scanned():
        scanned.clear()
        assert read_all(read_index(paths)) == [b'0', b'1']
        return len(scanned)

    assert [number_scanned() for _ in range(2)] == [2, 0]
    os.utime(paths[1])
    assert [number_scanned() for _ in range(2)] == [2, 0]
    (index,) = (tmp_path / 'data').glob('.hvs-mm-index-*.npz')
    index.write_bytes(index.read_bytes()[:900])
    assert [number_scanned() for _ in range(2)] == [2, 0]
    # As in a folder that cannot be written to, which an administrator can.
    index.unlink()
    index.mkdir()
    assert [number_scanned() for _ in range(2)] == [2, 0]
    assert len([*(tmp_path / 'cache/hvs-mm').iterdir()]) == 1


def test_an_index_of_imagenet_is_small(tmp_path):
    (path,) = write_shards(tmp_path, [b'0'] * 100, 1, kind='JPEG')
    index = read_index([str(path)])
    each = sum(getattr(index, name).nbytes for name in ('shard', 'offset', 'size', 'label'))
    each += index.names.nbytes + index.name_end.nbytes
    # Its names, such as n01440764_10026.JPEG, have 20 bytes; these have 9.
    assert (each / 100 + 11) * 1.28e6 < 80e6


def test_json_that_is_no_label(tmp_path):
    contents = [b'{', json.dumps([1]).encode(), b'{"label": true}', b'{"label": -4}', b'6']
    members = {}
    for number, content in enumerate(contents):
        members |= {f'{number}.jpg': b'', f'{number}.json': content}
    write_shard(tmp_path / 'x.tar', members)
    assert read_index([str(tmp_path / 'x.tar')]).label.tolist() == [-1, -1, -1, -1, 6]
