"""How many images lie below a folder, and whether it can be read at all."""

from __future__ import annotations

import os
from collections.abc import Callable


def count_files(folder: str, is_image: Callable[[str], bool], only_below: bool = False) -> int:
    """Count the images below a folder, of those that MMPretrain's ``CustomDataset`` lists.

    Links are followed, as there. Files whose name begins with a dot do not count.

    Args:
        folder: A local folder.
        is_image: Tells an image by its name.
        only_below: Count those in its subfolders, and not those in the folder itself.

    Raises:
        ValueError: If a folder below leads back into one that it lies in: listing would not end,
            or end with the system's "Too many levels of symbolic links". If one cannot be read.
    """
    return _count(folder, is_image, {}, only_below)


def _count(
    folder: str,
    is_image: Callable[[str], bool],
    parents: dict[tuple[int, int], str],
    only_below: bool = False,
) -> int:
    try:
        status = os.stat(folder)
        entries = list(os.scandir(folder))
    except OSError as error:
        raise ValueError(
            f'{folder!r}: the images in this folder cannot be listed ({error.strerror}). Make it '
            'readable, or name the images in a file: ann_file.'
        ) from error
    identity = (status.st_dev, status.st_ino)
    if identity in parents:
        raise ValueError(
            f'{_last_link(folder)} leads back to {parents[identity]!r}, in which it lies: the '
            'images below would be listed over and over. Remove that link, or name the images in '
            'a file: ann_file.'
        )
    parents = {**parents, identity: folder}
    number = 0
    for entry in entries:
        if _is_folder(entry):
            number += _count(entry.path, is_image, parents)
        elif not only_below and not entry.name.startswith('.') and is_image(entry.name):
            # Not a link that leads nowhere.
            number += entry.is_file()
    return number


def _last_link(folder: str) -> str:
    """The link by which a path leads elsewhere; what lies behind it must not be taken for it."""
    path = folder
    while path != os.path.dirname(path):
        if os.path.islink(path):
            return f'the link {path!r} to {os.readlink(path)!r}'
        path = os.path.dirname(path)
    return repr(folder)


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        raise ValueError(
            f'{entry.path!r} leads nowhere ({error.strerror}). Remove it, or name the images in a '
            'file: ann_file.'
        ) from error
