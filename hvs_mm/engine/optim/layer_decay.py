"""Learning rates that fall with the depth of a layer, as DINOv2 trains."""

from __future__ import annotations

from typing import Any

from mmpretrain.engine.optimizers import LearningRateDecayOptimWrapperConstructor
from mmpretrain.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from ...utils.arguments import check_share


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayConstructor(LearningRateDecayOptimWrapperConstructor):
    """MMPretrain's constructor of layer-wise rates, with a multiplier for the patch embedding.

    ``paramwise_cfg`` takes ``patch_embed_lr_mult`` besides what upstream's takes. Parameters with
    the same learning rate and weight decay share a group, which takes fewer kernels per step than
    upstream's group for each.

    Raises:
        ValueError: If ``patch_embed_lr_mult`` is not above 0 and at most 1.
    """

    def add_params(
        self, params: list[dict], module: nn.Module, prefix: str = '', **kwargs: Any
    ) -> None:
        """Add the parameters of a model to the groups, in place."""
        super().add_params(params, module, prefix=prefix, **kwargs)
        if prefix:
            return
        multiplier = check_share(
            'optim_wrapper.paramwise_cfg.patch_embed_lr_mult',
            self.paramwise_cfg.get('patch_embed_lr_mult', 1.0),
            zero=False,
        )
        groups: dict[tuple[float, float | None], dict[str, Any]] = {}
        for one in params:
            scale = multiplier if '.patch_embed.' in f'.{one["param_name"]}' else 1.0
            rate, decay = one['lr'] * scale, one.get('weight_decay')
            settings = {'params': [], 'lr': rate, 'lr_scale': one['lr_scale'] * scale}
            if decay is not None:
                settings['weight_decay'] = decay
            groups.setdefault((rate, decay), settings)['params'] += one['params']
        # The log shows the rate of the first group.
        params[:] = sorted(groups.values(), key=lambda group: -group['lr'])
