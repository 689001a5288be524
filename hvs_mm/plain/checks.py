"""Checks of what :class:`HardViews` is given: one line that says what was expected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from ..selection.groups import ViewGroups
from ..selection.selectors import Selector
from ..utils.arguments import is_list
from ..utils.precision import full_precision


def check_candidates(views: Any, groups: ViewGroups) -> ViewGroups:
    """Check one tensor (B, 3, H, W) per candidate view, and find out which groups are targets.

    Raises:
        TypeError: If they are no list of tensors.
        ValueError: If their number, batches or sizes do not fit the groups.
    """
    candidates = list(groups.candidates)
    if not is_list(views) or not all(isinstance(view, Tensor) for view in views):
        raise TypeError(
            f'views is a {type(views).__name__}, it must be a list of one tensor (B, 3, H, W) per '
            'candidate view, such as CandidateTransform draws.'
        )
    if len(views) != groups.num_views:
        raise ValueError(
            f'there are {len(views)} views per image, candidates={candidates} needs '
            f'{groups.num_views}: draw them with CandidateTransform(transform, {candidates}).'
        )
    shapes = [tuple(view.shape) for view in views]
    if any(len(shape) != 4 or 0 in shape for shape in shapes):
        raise ValueError(f'the views have shapes {shapes}: each must be images (B, 3, H, W).')
    if len({shape[0] for shape in shapes}) > 1:
        raise ValueError(
            f'the views have batches of {[shape[0] for shape in shapes]} samples: position b of '
            'every view must be the same image.'
        )
    sizes = []
    for span in groups.spans():
        found = {shapes[view][1:] for view in span}
        if len(found) > 1:
            raise ValueError(
                f'views {list(span)} form a group (candidates={candidates}) but differ in size: '
                f'{sorted(found)}. Put views of another size into a group of their own.'
            )
        sizes.append(found.pop())
    is_target = [size == sizes[0] for size in sizes]
    count = sum(is_target)
    if not all(is_target[:count]):
        raise ValueError(
            f'the groups have views of sizes {sizes}: those of the size of the first are the '
            'targets and must come first.'
        )
    return replace(groups, num_target_groups=count)


def check_output(
    output: Any, select: Callable[[Any], Any] | None, num_images: int
) -> tuple[Tensor, ...]:
    """The embeddings (N, D) in what a network returns, one tensor or two.

    Raises:
        ValueError: If there are none: the network returns something else, or ``select`` does.
    """
    found = output if select is None else select(output)
    # Without select, which of several outputs is meant is a guess.
    parts = found if select is not None and isinstance(found, (tuple, list)) else [found]
    who = 'the model' if select is None else 'select'
    if not all(isinstance(part, Tensor) for part in parts) or len(parts) not in (1, 2):
        raise ValueError(
            f'{who} returns a {type(found).__name__}{_length(found)}: pass HardViews(select=...), '
            'a function that picks the embeddings (N, D), such as lambda output: output[0], or a '
            'pair of embeddings and what they have to match.'
        )
    for part in parts:
        if part.ndim != 2 or len(part) != num_images:
            raise ValueError(
                f'{who} returns shape {tuple(part.shape)} for {num_images} images, expected '
                f'embeddings ({num_images}, D): flatten them in the model or in '
                'HardViews(select=...).'
            )
    return tuple(parts)


def check_settings(pair_loss: Any, select: Any) -> None:
    """Raise ``TypeError`` unless both can be called, with embeddings and with outputs."""
    if isinstance(pair_loss, type):
        name = pair_loss.__name__
        raise TypeError(f'pair_loss={name} is a class: pass an instance, {name}(...).')
    if not callable(pair_loss):
        raise TypeError(
            f'pair_loss={pair_loss!r} must be one of hvs_mm.losses, such as NTXent(0.1), a '
            'function from embeddings (B, S, D) to losses (B, T, S), or a criterion.'
        )
    if select is not None and not callable(select):
        raise TypeError(
            f'select={select!r} must be a function that picks the embeddings (N, D) from what the '
            'model returns, such as lambda output: output[0].'
        )


def call_pair_loss(
    pair_loss: Callable[..., Any], outputs: Sequence[Tensor], arguments: dict[str, Any]
) -> Any:
    """Call a pair loss with embeddings (B, S, D), and (B, T, D) if there are targets.

    Raises:
        TypeError: If it takes other arguments.
        ValueError: If it does not fit the shapes.
    """
    name = getattr(pair_loss, '__name__', type(pair_loss).__name__)
    shapes = ' and '.join(str(tuple(output.shape)) for output in outputs)
    try:
        signature(pair_loss).bind(*outputs, **arguments)
    except TypeError as error:
        raise TypeError(
            f'pair_loss {name} is called with the embeddings of all views, and what they have to '
            f'match where that differs: here {len(outputs)} tensors of shape {shapes}, and the '
            f'arguments {sorted(arguments)}. But: {error}. Wrap a criterion of two batches in '
            'hvs_mm.plain.PerPair.'
        ) from error
    try:
        return full_precision(pair_loss)(*outputs, **arguments)
    except torch.OutOfMemoryError:
        raise
    except (IndexError, RuntimeError) as error:
        message = str(error).partition('\n')[0]
        raise ValueError(
            f'pair_loss {name} fails on embeddings of shape {shapes}: {message}. Check the widths '
            'of the network, its target and what the loss holds, such as a center.'
        ) from error


def check_pair_loss(pair_loss: Any, num_samples: int, groups: ViewGroups) -> Tensor:
    """A pair loss (B, T, S), float32 or float64; targets beyond T are left out.

    Raises:
        ValueError: If it has another shape.
    """
    targets, views = groups.num_targets, groups.num_views
    shape = tuple(pair_loss.shape) if isinstance(pair_loss, Tensor) else None
    if shape not in ((num_samples, targets, views), (num_samples, views, views)):
        returned = f'shape {shape}' if shape is not None else f'a {type(pair_loss).__name__}'
        raise ValueError(
            f'pair_loss returns {returned}, expected (B, T, S) = ({num_samples}, {targets}, '
            f'{views}): the loss of each of {num_samples} samples when view s has to match target '
            't. Wrap a criterion of two batches in hvs_mm.plain.PerPair.'
        )
    return pair_loss[:, :targets].to(torch.promote_types(pair_loss.dtype, torch.float32))


def check_record(
    name: str, record: Tensor | None, shape: tuple[int, int], selector: Selector
) -> Tensor:
    """A record (B, S, ...) of the views that a selector reads.

    Raises:
        ValueError: If it is missing, or of other samples or views.
    """
    if record is None or tuple(record.shape[:2]) != shape:
        found = 'they are missing' if record is None else f'they have shape {tuple(record.shape)}'
        raise ValueError(
            f'{type(selector).__name__} reads the {name} of {shape[0]} samples with {shape[1]} '
            f'views, but {found}: call hard(..., {name}=batch.{name}) with those of the views.'
        )
    return record


def _length(value: Any) -> str:
    return f' of {len(value)}' if isinstance(value, (tuple, list, dict)) else ''
