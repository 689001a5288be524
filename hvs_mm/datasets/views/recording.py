"""Transforms of upstream that note what they did to a view."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any


class Recorded:
    """Mixed into an upstream transform, in front of it: notes what it did.

    Upstream's ``RandomResizedCrop`` does not tell its box, nor ``ColorJitter`` its factors. These
    subclasses behave and draw random numbers exactly as the class they derive from, and so a
    pipeline needs no rewriting: :func:`record` puts them in place of the transforms a config
    names.

    Attributes:
        key: Where the results hold the record of the view; without it nothing is noted.
    """

    key: str

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        before = results['img']
        results = super().transform(results)
        if self.key in results:
            self.note(results[self.key], before, results)
        return results

    def note(self, record: Any, before: Any, results: dict[str, Any]) -> None:
        """Update the record.

        Args:
            record: What stands under ``key``.
            before: The image before the transform.
            results: The results of the transform.
        """
        raise NotImplementedError


def record(transform: Any, recorded: Mapping[type, type]) -> Any:
    """Replace the transforms that are known by ones that note what they did.

    Args:
        transform: A built transform; wrappers such as ``RandomApply`` are searched.
        recorded: From upstream's class to the :class:`Recorded` one.

    Returns:
        A transform of the same behavior; the one given is not changed.

    Raises:
        ValueError: If it is a crop or a flip that is not known.
    """
    if type(transform) in recorded:
        cls = recorded[type(transform)]
        replacement = cls.__new__(cls)
        replacement.__dict__.update(transform.__dict__)
        return replacement
    # torchvision's transforms come wrapped, with the original in the attribute ``t``.
    name = type(getattr(transform, 't', transform)).__name__
    if _moves_pixels(name):
        known = sorted(cls.__name__ for cls in recorded if _moves_pixels(cls.__name__))
        raise ValueError(
            f'transform {name} in CandidateViews: its crop box or flip cannot be recorded. Use one '
            f'of {known}.'
        )
    inner = getattr(transform, 'transforms', None)
    if inner is None:
        return transform
    wrapper = copy(transform)
    wrapper.transforms = (
        [record(t, recorded) for t in inner] if isinstance(inner, list) else record(inner, recorded)
    )
    return wrapper


def _moves_pixels(name: str) -> bool:
    return 'Crop' in name or 'Flip' in name
