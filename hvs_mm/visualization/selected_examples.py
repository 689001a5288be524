"""Pictures of example images: the views that a model keeps, or all candidate views."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import torch
from matplotlib.figure import Figure

from ..datasets.loading.examples import Examples
from ..models.hvs_algorithm import HVSAlgorithm
from ..models.photometry.device_photometry import finish_views
from ..selection.record import Selection
from ..selection.statistics.color import COLOR_CHANGES
from ..utils.state_guard import own_random_numbers, preserve_state
from .panel import draw_selection
from .record_panel import kept_iou_captions
from .shown_channels import describe_shown, to_pictures

#: Short names of color changes that are factors.
_FACTORS = {'brightness': 'bri', 'contrast': 'con', 'saturation': 'sat'}


def select_examples(model: HVSAlgorithm, examples: Examples, seed: int = 0) -> Selection:
    """Let an ``HVSAlgorithm`` select in one batch, with the same random numbers every time.

    Its weights, buffers and modes and the random states stay as they are.
    """
    # The preprocessor may write into its input.
    data = model.data_preprocessor(deepcopy(examples.batch()))
    # Selectors and stochastic depth draw random numbers, which the training must not miss.
    with own_random_numbers(seed), preserve_state(model):
        return model.select_views(data['inputs'], data['data_samples'])


def shown_pair_loss(model: HVSAlgorithm, selection: Selection) -> np.ndarray:
    """The pair losses (B, T, S) float32, or what the selector reads in their place.

    NaN for a view and itself where it does not enter a score.
    """
    pair_loss = selection.pair_loss.float().cpu().clone()
    if model.score_weights.diagonal == 0:
        # (T, B): the views of the diagonal
        pair_loss.diagonal(dim1=1, dim2=2).fill_(float('nan'))
    return pair_loss.numpy()


def draw_examples_panel(
    model: HVSAlgorithm, examples: Examples, selection: Selection, number: int
) -> Figure:
    """Picture the selection of the first ``number`` images, see :func:`draw_selection`.

    ``selection`` is the result of :func:`select_examples` for the model and the examples.
    """
    number = min(number, len(examples.images))
    captions = kept_iou_captions(selection, torch.from_numpy(examples.boxes[:number]))
    return draw_selection(
        *_pixels(examples, number),
        examples.boxes[:number],
        selection.indices.cpu().numpy()[:number],
        _with_channels(captions, examples),
        shown_pair_loss(model, selection)[:number],
        num_targets=selection.groups.num_targets,
        pair_title='pair loss' if model.selector.values is None else model.selector.values.title,
    )


def draw_candidates(examples: Examples) -> Figure:
    """Picture all images and their candidate views before any selection, with their changes."""
    samples = examples.data_samples
    labels = [[describe_view(*view) for view in zip(s.view_colors, s.view_flips)] for s in samples]
    sizes = ['x'.join(map(str, image.shape[1::-1])) for image in examples.images]
    captions = _with_channels(sizes, examples)
    pixels = _pixels(examples, len(samples))
    return draw_selection(*pixels, examples.boxes, None, captions, labels=labels)


def describe_view(colors: Sequence[float], flips: Sequence[bool]) -> str:
    """The changes of a view in lines short enough to stand below a small picture.

    E.g. ``'bri 1.2, con 0.8\\nsat 0.9, hue -0.05\\nflip, gray, blur 1.4'``; empty without any.

    Args:
        colors: The 7 numbers of ``view_colors``.
        flips: Mirrored horizontally, vertically.
    """
    changes = dict(zip(COLOR_CHANGES, np.asarray(colors).tolist()))
    jitter = [f'{short} {changes[n]:.1f}' for n, short in _FACTORS.items() if changes[n] != 1]
    jitter += [f'hue {changes["hue"]:+.2f}'] if changes['hue'] else []
    others = {
        'flip': flips[0],
        'upside down': flips[1],
        'gray': changes['grayscale'],
        f'blur {changes["blur"]:.1f}': changes['blur'],
        'solarized': changes['solarize'],
    }
    lines = [jitter[:2], jitter[2:], [name for name, happened in others.items() if happened]]
    return '\n'.join(', '.join(line) for line in lines if line)


def _pixels(examples: Examples, number: int) -> tuple[list[np.ndarray], list[list[np.ndarray]]]:
    """The first images and their views as pictures (h, w, 3), the views as the model sees them."""
    views = finish_views(examples.first_inputs(number), examples.data_samples[:number])
    # (C, h, w) -> (h, w, C)
    pixels = [[view[i].permute(1, 2, 0).numpy() for view in views] for i in range(number)]
    pictures = [to_pictures(*one) for one in zip(examples.images, pixels)]
    return [image for image, _ in pictures], [views for _, views in pictures]


def _with_channels(captions: Sequence[str], examples: Examples) -> list[str]:
    """Captions of the first images, with the channels that are shown if not all are."""
    shown = map(describe_shown, examples.images)
    return [', '.join(filter(None, parts)) for parts in zip(captions, shown)]
