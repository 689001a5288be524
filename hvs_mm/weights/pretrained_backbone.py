"""Start a model from the backbone of a checkpoint, or not at all."""

from __future__ import annotations

import logging

from mmengine.logging import print_log
from mmengine.model import update_init_info
from mmengine.registry import WEIGHT_INITIALIZERS
from torch import nn

from .backbone_weights import load_backbone


@WEIGHT_INITIALIZERS.register_module()
class PretrainedBackbone:
    """Initialize a backbone from a checkpoint and log what was loaded.

    As ``init_cfg`` of a backbone of MMPretrain or MMDetection. MMEngine's ``Pretrained`` goes on
    with a warning where nothing fits; this one stops.

    Args:
        checkpoint: The checkpoint. ``None`` is an error once weights are initialized, which
            testing and building a model do not do.
        prefix: What the names of the backbone begin with in the checkpoint, ``''`` for a bare
            one. By default ``'teacher.backbone.'`` if there is one, else ``'backbone.'``.
        strict: Refuse a checkpoint that lacks tensors of the backbone or has others. Without it
            what fits is loaded, and the log names the rest. Defaults to ``True``.
        trust: Read the checkpoint even if it holds objects that can run code. Defaults to
            ``False``.
    """

    def __init__(
        self,
        checkpoint: str | None = None,
        prefix: str | None = None,
        strict: bool = True,
        trust: bool = False,
    ) -> None:
        self.checkpoint = checkpoint
        self.prefix = prefix
        self.strict = strict
        self.trust = trust

    def __call__(self, module: nn.Module) -> None:
        """Initialize a module and its children.

        Args:
            module: The backbone, a ``BaseModule`` of MMEngine.

        Raises:
            FileNotFoundError: If there is no such checkpoint.
            ValueError: If there is none given, or it does not fit; see :func:`load_backbone`.
        """
        check_checkpoint_given(self.checkpoint)
        # MMEngine initializes children after their parent, unless they already are: later they
        # would overwrite what is loaded here.
        for child in module.children():
            if hasattr(child, 'init_weights'):
                child.init_weights()
        load = load_backbone(module, self.checkpoint, self.prefix, self.strict, self.trust)
        # After this, backbones set some weights anew unless their `init_cfg` is of this type:
        # ResNet its last norms, VisionTransformer its position embeddings.
        module.init_cfg = dict(
            type='Pretrained', checkpoint=self.checkpoint, prefix=load.prefix or None
        )
        if hasattr(module, '_params_init_info'):
            update_init_info(module, f'{type(self).__name__}: loaded from {self.checkpoint}')
        level = logging.INFO if load.is_complete else logging.WARNING
        print_log(load.describe(self.checkpoint), 'current', level)


def check_checkpoint_given(checkpoint: str | None, option: str = 'model.backbone.init_cfg') -> None:
    """Refuse to start without a checkpoint.

    Args:
        checkpoint: Its path.
        option: The dotted name of the initializer's settings in the config.

    Raises:
        ValueError: If there is none.
    """
    if not checkpoint:
        raise ValueError(
            f'{option}.checkpoint={checkpoint!r}: this config starts from a pretrained backbone. '
            f'Give its checkpoint with --cfg-options {option}.checkpoint=PATH (tools/train.py: '
            f'--pretrained PATH), or ask for random weights with {option}=None.'
        )
