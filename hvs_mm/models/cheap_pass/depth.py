"""Leave a backbone early."""

from __future__ import annotations

from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn


class _Exit(Exception):  # noqa: N818 - it is no error
    """Carries the output of a layer out of the backbone's forward pass."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output


def layers_of(backbone: BaseModule) -> list[nn.Module]:
    """The stages of a ``ResNet``, or the layers of a ``VisionTransformer``, in their order."""
    if hasattr(backbone, 'res_layers'):
        return [getattr(backbone, name) for name in backbone.res_layers]
    if hasattr(backbone, 'patch_embed') and hasattr(backbone, 'layers'):
        return list(backbone.layers)
    raise ValueError(
        f'selection_pass.depth does not know the layers of {type(backbone).__name__}: it takes a '
        'ResNet or a VisionTransformer of MMPretrain. Leave it out, or use selection_pass.scale.'
    )


def early_features(backbone: BaseModule, images: Tensor, depth: int) -> Tensor:
    """Features (N, C) of images (N, 3, H, W) after ``depth`` layers; the later ones do not run.

    They are the mean over the positions of a ``ResNet``'s map, or over the patch tokens of a
    ``VisionTransformer``.
    """

    def leave(module: nn.Module, args: Any, output: Tensor) -> None:
        raise _Exit(output)

    handle = layers_of(backbone)[depth - 1].register_forward_hook(leave)
    try:
        backbone(images)
    except _Exit as early:
        output = early.output
    finally:
        handle.remove()
    if output.ndim == 4:
        # (N, C, H, W) -> (N, C)
        return output.mean((2, 3))
    # (N, extra + patches, C) -> (N, C)
    num_extra = backbone.num_extra_tokens + getattr(backbone, 'num_registers', 0)
    return output[:, num_extra:].mean(1)
