"""Images that cannot be used, and how the loader's workers report them."""

from __future__ import annotations

from typing import NamedTuple

#: Field of a data sample: a tuple of :class:`BadImage`, the images that were rejected before this
#: one was taken. Absent if there are none.
SKIPPED_FIELD = 'skipped_images'


class BadImage(NamedTuple):
    """An image that cannot be used.

    Attributes:
        path: Path of its file, as the data set names it.
        reason: Why it is rejected, in words.
    """

    path: str
    reason: str


class BadImagesError(ValueError):
    """Too many images cannot be used, or one that must not be left out."""

    def __str__(self) -> str:
        # torch raises an error of a worker again with the worker's whole traceback as its text.
        return super().__str__().rsplit(f'{type(self).__name__}: ', 1)[-1].strip()


def describe(images: list[BadImage], most: int = 5) -> str:
    """Name up to ``most`` of one or more images with the reasons, and count the others."""
    distinct = list({image.path: image for image in images}.values())
    lines = [f'{image.path} ({image.reason})' for image in distinct[:most]]
    if len(distinct) > most:
        lines.append(f'and {len(distinct) - most} more')
    return ', '.join(lines)
