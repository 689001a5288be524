"""Images that cannot be used: how the loader's workers report them to the training process."""

from __future__ import annotations

from typing import NamedTuple

#: Field of a data sample: the images that were refused before this one was taken, a tuple of
#: :class:`BadImage`. It is absent if there are none.
SKIPPED_FIELD = 'skipped_images'


class BadImage(NamedTuple):
    """The path of an image that cannot be used, as the data set names it, and the reason."""

    path: str
    reason: str


class BadImagesError(ValueError):
    """Too many images are bad, or one is that must not be left out."""

    def __str__(self) -> str:
        # torch re-raises an error of a worker with the worker's whole traceback as its text.
        return super().__str__().rsplit(f'{type(self).__name__}: ', 1)[-1].strip()


def describe(images: list[BadImage], most: int = 5) -> str:
    """List ``most`` images, each once, with the reasons, and count the others."""
    distinct = list({image.path: image for image in images}.values())
    lines = [f'{image.path} ({image.reason})' for image in distinct[:most]]
    if len(distinct) > most:
        lines.append(f'and {len(distinct) - most} more')
    return ', '.join(lines)
