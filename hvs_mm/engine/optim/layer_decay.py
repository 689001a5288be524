"""Learning rates that fall with the depth of a layer, as DINOv2 trains."""

from __future__ import annotations

from math import prod
from typing import Any

from mmpretrain.engine.optimizers import LearningRateDecayOptimWrapperConstructor
from mmpretrain.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from ...utils.arguments import check_share


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayConstructor(LearningRateDecayOptimWrapperConstructor):
    """MMPretrain's constructor of layer-wise rates, with multipliers for parts of the backbone.

    ``paramwise_cfg`` takes ``backbone_lr_mult`` and ``patch_embed_lr_mult`` besides what upstream's
    takes. Parameters with the same settings share a group, which takes fewer kernels per step than
    upstream's group for each. With ``layer_decay_rate=1`` the backbone may be any network.

    Raises:
        ValueError: If a multiplier is not above 0 and at most 1.
    """

    def add_params(
        self, params: list[dict], module: nn.Module, prefix: str = '', **kwargs: Any
    ) -> None:
        """Add the parameters of a model to the groups, in place."""
        if not prefix and self.paramwise_cfg.get('layer_decay_rate', 1.0) == 1:
            # Not all backbones tell the depth of a layer.
            kwargs.setdefault('get_layer_depth', lambda name: (0, 1))
        super().add_params(params, module, prefix=prefix, **kwargs)
        if prefix:
            return
        multipliers = {
            'backbone.': self._multiplier('backbone_lr_mult'),
            'backbone.patch_embed.': self._multiplier('patch_embed_lr_mult'),
        }
        groups: dict[tuple[Any, ...], dict[str, Any]] = {}
        for one in params:
            name = one.pop('param_name')
            scale = prod(m for part, m in multipliers.items() if name.startswith(part))
            one['lr'] *= scale
            one['lr_scale'] *= scale
            del one['layer_id']
            key = tuple((k, v) for k, v in one.items() if k != 'params')
            groups.setdefault(key, {**one, 'params': []})['params'] += one['params']
        # The log shows the rate of the first group.
        params[:] = sorted(groups.values(), key=lambda group: -group['lr'])

    def _multiplier(self, name: str) -> float:
        option = f'optim_wrapper.paramwise_cfg.{name}'
        return check_share(option, self.paramwise_cfg.get(name, 1.0), zero=False)
