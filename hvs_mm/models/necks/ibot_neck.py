"""The projection of iBOT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from mmengine.dist import get_world_size
from mmpretrain.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import SyncBatchNorm, _BatchNorm

from .dino_neck import DINONeck, WeightNormLinear


@MODELS.register_module()
class IBOTNeck(DINONeck):
    """Projection of iBOT: one MLP for all tokens, prototypes shared or of two kinds.

    Source: section 3.2 of `arXiv 2111.07832 <https://arxiv.org/abs/2111.07832>`_.

    Args:
        in_channels: Width of the backbone's tokens.
        out_channels: Number of prototypes of the [CLS] token.
        patch_out_channels: Number of prototypes of the patch tokens; by default ``out_channels``.
        shared_head: Use the same prototypes for both.
        **kwargs: As for :class:`DINONeck`.

    Raises:
        ValueError: If the prototypes are shared, but not equal in number.
    """

    algorithm: ClassVar[str] = 'IBOT'

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 8192,
        patch_out_channels: int | None = None,
        shared_head: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(in_channels, out_channels, **kwargs)
        patch_out_channels = out_channels if patch_out_channels is None else patch_out_channels
        if shared_head and patch_out_channels != out_channels:
            raise ValueError(
                f'patch_out_channels={patch_out_channels} differs from out_channels='
                f'{out_channels}, but shared_head=True uses the same prototypes for both: make '
                'them equal, or set shared_head=False.'
            )
        self.shared_head = shared_head
        if not shared_head:
            self.last_layer2 = WeightNormLinear(
                self.last_layer.weight_v.shape[1],
                patch_out_channels,
                fixed_norm=not self.last_layer.weight_g.requires_grad,
            )

    def pool(self, x: Sequence[Tensor]) -> Tensor:
        """The [CLS] token (B, C) of tokens (B, 1 + N, C); the last ones count."""
        return x[-1][:, 0]

    @property
    def patch_mlp(self) -> nn.Module:
        """The MLP for patches."""
        return self.mlp

    def _project_patches(self, x: Tensor) -> Tensor:
        return F.normalize(self.patch_mlp(x), dim=-1)

    def patch_means(self, tokens: Tensor) -> Tensor:
        """Means (..., patch_out_channels) of the logits of patch tokens (..., N, C)."""
        prototypes = self.last_layer if self.shared_head else self.last_layer2
        # The prototypes are linear: a mean before them costs N times fewer products.
        projected = self._project_patches(tokens.flatten(0, -2)).unflatten(0, tokens.shape[:-1])
        return prototypes(projected.mean(-2))

    def _batch_norms(self) -> list[nn.Module]:
        return [m for m in self.patch_mlp.modules() if isinstance(m, _BatchNorm) and m.training]

    @property
    def has_batch_norm(self) -> bool:
        """Whether the logits of a patch depend on the others of a batch."""
        return bool(self._batch_norms())

    def patch_logits(self, tokens: Tensor) -> Tensor:
        """Map patch tokens (M, C) to logits (M, patch_out_channels).

        Fewer than two tokens have no statistics of their own: BatchNorm takes its running ones, and
        SyncBN on several processes those of all together.
        """
        prototypes = self.last_layer if self.shared_head else self.last_layer2
        if len(tokens) > 1:
            return prototypes(self._project_patches(tokens))
        norms = self._batch_norms()
        if get_world_size() > 1:
            norms = [norm for norm in norms if not isinstance(norm, SyncBatchNorm)]
        for norm in norms:
            norm.eval()
        try:
            return prototypes(self._project_patches(tokens))
        finally:
            for norm in norms:
                norm.train()
