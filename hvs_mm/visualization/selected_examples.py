"""What a model keeps of the candidate views of some images."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from ..datasets.loading.examples import Examples
from ..models.photometry.batch import apply_photometry
from ..selection.record import Selection
from ..selection.statistics.geometry import pair_ious
from ..utils.photometry_operations import PHOTOMETRY_FIELD, stack_operations
from ..utils.state_guard import own_random_numbers, preserve_state
from .captions import describe_view
from .panel import draw_selection


def select_examples(model: nn.Module, examples: Examples, seed: int = 0) -> Selection:
    """Let a model select, with the same random numbers every time.

    Its weights, buffers and modes and the random states stay as they are.

    Args:
        model: An ``HVSAlgorithm``.
        examples: All go forward as one batch.
        seed: Of these random numbers.
    """
    # The preprocessor may write into its input.
    data = model.data_preprocessor(deepcopy(examples.batch()))
    # Selectors and stochastic depth draw random numbers, which the training would miss: the
    # former does Python's, the latter those of a GPU, too.
    with own_random_numbers(seed), preserve_state(model):
        return model.select_views(data['inputs'], data['data_samples'])


def shown_pair_loss(model: nn.Module, selection: Selection) -> np.ndarray:
    """The losses of pairs, without those of a view and itself where the method has none.

    Returns:
        (B, T, S) float32, NaN where there is nothing to show.
    """
    pair_loss = selection.pair_loss.float().cpu().clone()
    if model.pair_loss.score_weights(model.algorithm).diagonal == 0:
        # (T, B): the views of the diagonal
        pair_loss.diagonal(dim1=1, dim2=2).fill_(float('nan'))
    return pair_loss.numpy()


def draw_examples_panel(
    model: nn.Module, examples: Examples, selection: Selection, number: int
) -> Figure:
    """Picture the selection of the first images, see :func:`draw_selection`.

    Args:
        model: An ``HVSAlgorithm``.
        examples: What was selected from.
        selection: What :func:`select_examples` returned for it.
        number: How many images to show.
    """
    number = min(number, len(examples.images))
    captions = ['' for _ in range(number)]
    if selection.groups.num_kept_targets == 2:
        choices = selection.groups.target_combinations()
        ious = pair_ious(torch.from_numpy(examples.boxes), choices).numpy()
        own = ious[np.arange(len(ious)), selection.target_choice.cpu().numpy()]
        captions = [f'IoU kept {own[i]:.2f}, mean {ious[i].mean():.2f}' for i in range(number)]
    images, views = _pixels(examples, number)
    kept = selection.indices.cpu().numpy()
    pair_loss = shown_pair_loss(model, selection)
    return draw_selection(
        images,
        views,
        examples.boxes[:number],
        kept[:number],
        captions,
        pair_loss[:number],
        num_targets=selection.groups.num_targets,
    )


def draw_candidates(examples: Examples) -> Figure:
    """Picture images and their candidate views before any selection, with what was done to each.

    Args:
        examples: All of them are shown.
    """
    samples = examples.data_samples
    labels = [[describe_view(*view) for view in zip(s.view_colors, s.view_flips)] for s in samples]
    captions = ['x'.join(map(str, image.shape[1::-1])) for image in examples.images]
    images, views = _pixels(examples, len(samples))
    return draw_selection(images, views, examples.boxes, None, captions, labels=labels)


def _pixels(examples: Examples, number: int) -> tuple[list[np.ndarray], list[list[np.ndarray]]]:
    """The first images and their views (h, w, 3) as the model sees them, RGB instead of BGR."""
    views = [view[:number] for view in examples.inputs]
    left = [getattr(sample, PHOTOMETRY_FIELD, None) for sample in examples.data_samples[:number]]
    if left[0] is not None:
        views = apply_photometry(views, stack_operations(left))
    return [image[..., ::-1] for image in examples.images[:number]], [
        [view[i].permute(1, 2, 0).numpy()[..., ::-1] for view in views] for i in range(number)
    ]
