"""Tar shards as users have them, in the layout of WebDataset."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path


def write_shard(path: Path, members: Mapping[str, bytes]) -> list[int]:
    """Write a shard; the byte at which the content of each member ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ends = []
    with tarfile.open(path, 'w') as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
            ends.append(tar.offset - -len(content) % tarfile.BLOCKSIZE)
    return ends


def write_shards(folder: Path, images: list[bytes], number: int, kind: str = 'png') -> list[Path]:
    """Write images with the classes 0 and 1 in turn, the same number into each shard."""
    each = len(images) // number
    paths = [folder / f'x-{shard:03d}.tar' for shard in range(number)]
    for shard, path in enumerate(paths):
        members = {}
        for image in range(shard * each, (shard + 1) * each):
            members[f'{image:04d}.{kind}'] = images[image]
            members[f'{image:04d}.cls'] = str(image % 2).encode()
        write_shard(path, members)
    return paths
