"""Fit the first convolution of an RGB network to images of other channels."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

_RGB = 3
#: Names of the first convolution in MMPretrain's ViT, ResNet and ResNet with a deep stem.
_FIRST = ('patch_embed.projection.weight', 'conv1.weight', 'stem.0.weight')


def adapt_input_channels(weight: Tensor, channels: int) -> Tensor:
    """Fit a convolution (O, 3, h, w) to ``channels``, (O, channels, h, w).

    For one channel the three kernels are added up: a gray image gives what it gave as RGB. For
    other numbers they repeat in their order, times ``3 / channels``, which keeps the size of the
    outputs. Source: ``adapt_input_conv`` of `timm <https://github.com/huggingface/pytorch-image-
    models>`_.

    Raises:
        ValueError: If the weight has other channels than 3 and ``channels``.
    """
    check_channels(weight, channels)
    if weight.shape[1] == channels:
        return weight
    if channels == 1:
        return weight.float().sum(dim=1, keepdim=True).to(weight.dtype)
    repeats = -(-channels // _RGB)
    repeated = weight.float().repeat(1, repeats, 1, 1)[:, :channels]
    return (repeated * (_RGB / channels)).to(weight.dtype)


def check_channels(weight: Tensor, channels: int) -> int:
    """The channels of a first convolution; ``ValueError`` unless it can be fit to ``channels``."""
    if weight.shape[1] not in (channels, _RGB):
        raise ValueError(
            f'its images have {weight.shape[1]} channels, yours {channels}: only a network for 3 '
            'channels can be fit to others.'
        )
    return weight.shape[1]


def first_convolution(state: Mapping[str, Tensor]) -> str | None:
    """The name of the first convolution among weights with MMPretrain's names."""
    return next((name for name in _FIRST if name in state), None)


def fit_first_convolution(
    state: dict[str, Tensor], own: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], str]:
    """Fit the first convolution of a checkpoint to that of a backbone.

    Returns:
        The weights, and one clause for the log, ``''`` if nothing had to be fit.

    Raises:
        ValueError: If it has other channels than 3 and those of the backbone.
    """
    name = first_convolution(own)
    if name is None or name not in state or state[name].ndim != own[name].ndim:
        return state, ''
    old, new = state[name].shape[1], own[name].shape[1]
    if old == new:
        return state, ''
    how = 'added up' if new == 1 else f'repeated, times {_RGB}/{new}'
    text = f'{name} fit from {old} channels to {new} ({how})'
    return {**state, name: adapt_input_channels(state[name], new)}, text
