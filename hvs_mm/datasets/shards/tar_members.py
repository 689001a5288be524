"""What lies where in a tar shard, in the layout of WebDataset."""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

#: Extensions of members that are images.
IMAGE_EXTENSIONS = frozenset(
    ('bmp', 'jpeg', 'jpg', 'pbm', 'pgm', 'png', 'pnm', 'ppm', 'tif', 'tiff', 'webp')
)
#: WebDataset's convention: members whose names agree up to the first dot are one sample.
_NAME = re.compile(r'((?:.*/)?[^./][^.]*)\.([^/]*)', re.DOTALL)
#: Bytes of a label, or of a description that may hold one; longer members are not read.
_MAX_LABEL = 2**20
#: First bytes of what ``tarfile`` could read, but not from the middle.
_COMPRESSED = {b'\x1f\x8b': 'gunzip', b'BZ': 'bunzip2', b'\xfd7': 'unxz', b'\x28\xb5': 'unzstd'}


@dataclass
class ShardMembers:
    """The images of a shard, in its order.

    Attributes:
        names: Names of the members.
        offsets, sizes: Bytes of their contents.
        labels: From the ``cls`` or ``json`` member of the same sample; -1 without one.
        damage: Byte from which on the shard cannot be read; -1 if it is whole.
        passed_over: Number of images like ``x.2.jpg`` that follow another one, as ``x.1.jpg``, in a
            sample without ``x.jpg``.
    """

    names: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    damage: int = -1
    passed_over: int = 0


def scan_shard(path: str) -> ShardMembers:
    """Read the headers and labels of a shard.

    Of a damaged shard the samples before the damage are listed. A sample without an image is left
    out; of several images the first one counts, ``x.jpg`` before ``x.seg.png``.

    Raises:
        OSError: If the shard cannot be opened.
        ValueError: If it is compressed.
    """
    members = ShardMembers()
    with open(path, 'rb') as file:
        start = file.read(2)
        file.seek(0)
        if start in _COMPRESSED:
            raise ValueError(
                f'{path!r} is compressed, so an image cannot be read from the middle of it: unpack '
                f'it first ({_COMPRESSED[start]} {path}); images would hardly become smaller.'
            )
        sample: dict[str, Any] = {}
        for member in _members(file, members):
            match = _NAME.fullmatch(member.name)
            if match is None:
                continue
            key, extension = match[1], match[2].lower()
            if key != sample.get('key'):
                _add(members, sample)
                sample = dict(key=key)
            if extension in IMAGE_EXTENSIONS:
                sample.setdefault('image', member)
            elif extension.rpartition('.')[2] in IMAGE_EXTENSIONS:
                sample.setdefault('others', []).append(member)
            elif extension in ('cls', 'json') and member.size <= _MAX_LABEL:
                file.seek(member.offset_data)
                label = _label(extension, file.read(member.size))
                # A class of its own counts more than an entry of a description.
                if extension == 'cls' or 'label' not in sample:
                    sample['label'] = label
        # Damage may have taken the label of the last sample.
        has_labels = any(label >= 0 for label in members.labels)
        if members.damage < 0 or 'label' in sample or not has_labels:
            _add(members, sample)
    return members


def _members(file: BinaryIO, members: ShardMembers) -> Iterator[tarfile.TarInfo]:
    """Yield the members whose contents are complete; note where damage begins."""
    total = os.fstat(file.fileno()).st_size
    position = 0
    try:
        tar = tarfile.open(fileobj=file, mode='r:')  # noqa: SIM115  the file is closed by its owner
        while (member := tar.next()) is not None:
            # They would be kept for ever.
            tar.members.clear()  # type: ignore[attr-defined]
            position = member.offset
            if member.offset_data + member.size > total:
                break
            if member.isreg() and not member.issparse():
                yield member
            position = tar.offset
    except tarfile.TarError:
        members.damage = position
        return
    # tarfile ends at anything that is no header. A whole archive ends with blocks of zeros.
    file.seek(position)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        members.damage = position


def _add(members: ShardMembers, sample: dict[str, Any]) -> None:
    image, others = sample.get('image'), sample.get('others', [])
    if image is None and others:
        # No picture beside an image, such as x.seg.png, but names with dots.
        image = others[0]
        members.passed_over += len(others) - 1
    if image is not None:
        members.names.append(image.name)
        members.offsets.append(image.offset_data)
        members.sizes.append(image.size)
        members.labels.append(sample.get('label', -1))


def _label(extension: str, content: bytes) -> int:
    """The number of a class; -1 if there is none."""
    value: Any
    try:
        value = int(content) if extension == 'cls' else json.loads(content)
    except ValueError:
        return -1
    if isinstance(value, dict):
        value = value.get('label', value.get('cls'))
    is_class = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31
    return value if is_class else -1
