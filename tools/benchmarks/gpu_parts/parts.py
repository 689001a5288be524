"""All parts, the most telling ones first."""

from __future__ import annotations

import platform
from typing import Any

import mmengine
import mmpretrain
import torch
from _building import device_name

import hvs_mm

from .loss_scaling import check_loss_scaling
from .photometry import measure_photometry
from .plan import Part
from .resuming import check_resuming
from .same_selection import check_same_selection
from .setting import METHODS, Setting
from .step_costs import measure_cost
from .waiting import check_waiting

_SIMSIAM, _DINO, _IBOT, _DINOV2 = METHODS


def describe_machine(setting: Setting) -> dict[str, Any]:
    """The machine and the versions that the numbers hold for."""
    device = torch.device(setting.device)
    found: dict[str, Any] = {
        'device': device_name(device),
        'precision of the steps': setting.dtype,
        'python': platform.python_version(),
        'torch': torch.__version__,
        'mmengine': mmengine.__version__,
        'mmpretrain': mmpretrain.__version__,
        'hvs_mm': hvs_mm.__version__,
    }
    if device.type == 'cuda':
        properties = torch.cuda.get_device_properties(device)
        found |= {
            'memory in GiB': round(properties.total_memory / 2**30, 1),
            'compute capability': f'{properties.major}.{properties.minor}',
            'cuda': torch.version.cuda,
            'cudnn': torch.backends.cudnn.version(),
        }
    return found


def all_parts(setting: Setting) -> list[Part]:
    """The parts in their order, with the seconds that they are expected to take on a GPU."""

    def cost(method: str, compiled: bool = False, fast: bool = False) -> Part:
        name = f'{method}: {"compiled" if compiled else "eager"}{", fast mode" if fast else ""}'
        # Most of it is the compiler's.
        seconds = 75.0 if compiled else 20.0
        arguments = {'method': method, 'compiled': compiled, 'fast': fast}
        return Part(name, 'step', measure_cost, seconds, {'setting': setting, **arguments})

    def check(kind: str, function: Any, method: str, seconds: float) -> Part:
        arguments = {'setting': setting, 'method': method}
        return Part(f'{method}: {kind}', kind, function, seconds, arguments)

    return [
        Part('machine', 'machine', describe_machine, 10, {'setting': setting}),
        cost(_SIMSIAM),
        cost(_DINO),
        *(check('no waiting', check_waiting, method, 5) for method in METHODS),
        *(check('same selection', check_same_selection, method, 8) for method in METHODS),
        *(check('loss scaling', check_loss_scaling, method, 5) for method in (_SIMSIAM, _DINO)),
        *(check('resuming', check_resuming, method, 10) for method in (_SIMSIAM, _DINO)),
        *(check('photometry', measure_photometry, method, 10) for method in (_SIMSIAM, _DINO)),
        cost(_IBOT),
        cost(_DINOV2),
        cost(_DINO, compiled=True),
        cost(_SIMSIAM, compiled=True),
        *(cost(method, fast=True) for method in METHODS),
        *(cost(method, compiled=True) for method in (_IBOT, _DINOV2)),
        *(cost(method, compiled=True, fast=True) for method in METHODS),
    ]
