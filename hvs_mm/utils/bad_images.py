"""Images that cannot be used: how the loader's workers tell the training process of them."""

from __future__ import annotations

from typing import NamedTuple

#: Field of a data sample: the images that were refused before this one was taken, a tuple of
#: :class:`BadImage`. Only samples that have something to tell have it.
SKIPPED_FIELD = 'skipped_images'


class BadImage(NamedTuple):
    """An image that cannot be used.

    Attributes:
        path: Of its file, as the data set names it.
        reason: What is wrong with it, in words.
    """

    path: str
    reason: str


class BadImagesError(ValueError):
    """Too many images cannot be used, or one that must not be left out."""

    def __str__(self) -> str:
        # torch raises an error of a worker again with the worker's whole traceback as its text.
        return super().__str__().rsplit(f'{type(self).__name__}: ', 1)[-1].strip()


def describe(images: list[BadImage], most: int = 5) -> str:
    """Some images, each once, with what is wrong with them.

    Args:
        images: At least one.
        most: How many are named; of the others only the number is told.
    """
    distinct = list({image.path: image for image in images}.values())
    lines = [f'{image.path} ({image.reason})' for image in distinct[:most]]
    if len(distinct) > most:
        lines.append(f'and {len(distinct) - most} more')
    return ', '.join(lines)
