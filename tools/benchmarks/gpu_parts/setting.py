"""What all parts know: the device, the size of the work, and the methods."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from hvs_mm.engine import merge_options, read_config

from .worker import NotRunError

#: Of the checkout, or of the installed package.
CONFIGS = Path(__file__).parents[3] / 'configs'
#: GPUs since this compute capability calculate in bfloat16.
_BFLOAT16 = (8, 0)


class Method(NamedTuple):
    """A method that is measured.

    Attributes:
        config: Its config below ``configs/``.
        tiny: The config of the same method on built-in images, which the CPU can run.
        fast: The cheaper ``model.selection_pass`` of its fast config. Without the ``dtype`` of
            DINO's, which is that of the step already and would only keep its teacher's outputs from
            being used again. DINOv2 has no fast config; what suits iBOT is taken.
    """

    config: str
    tiny: str
    fast: dict[str, Any]


METHODS = {
    'SimSiam, ResNet-50': Method('hvs_simsiam_100e.py', 'demo/hvs_simsiam.py', {'scale': 0.5}),
    'DINO, ViT-S/16': Method('hvs_dino_300e.py', 'demo/hvs_dino.py', {'online': 'local'}),
    'iBOT, ViT-S/16': Method('hvs_ibot_300e.py', 'demo/hvs_ibot.py', {'scale': 0.5}),
    'DINOv2, ViT-S/14': Method('hvs_dinov2_vit-small.py', 'demo/hvs_dinov2.py', {'scale': 0.5}),
}


class Setting(NamedTuple):
    """How the parts run.

    Attributes:
        device: ``'cuda'`` or ``'cpu'``.
        tiny: Whether networks, images and batches are those of the demos.
    """

    device: str
    tiny: bool

    @property
    def dtype(self) -> str:
        """The half precision that the device calculates in; bfloat16 on a CPU."""
        old = self.device == 'cuda' and torch.cuda.get_device_capability() < _BFLOAT16
        return 'fp16' if old else 'bf16'

    def config(self, method: str, options: dict[str, Any] | None = None) -> Config:
        """The config of a method, with some settings overridden."""
        # Where what a config names is found, whichever part comes first in a process.
        init_default_scope('mmpretrain')
        found = METHODS[method]
        cfg = read_config(str(CONFIGS / (found.tiny if self.tiny else found.config)))
        merge_options(cfg, options or {})
        return cfg


def require_cuda(setting: Setting) -> None:
    """Raise :class:`NotRunError` on a CPU."""
    if setting.device != 'cuda':
        raise NotRunError('needs CUDA')
