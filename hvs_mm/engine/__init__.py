from .autocast_optim_wrapper import AutocastOptimWrapper
from .cpu_distributed import CPUDistributedDataParallel, prepare_cpu_distributed
from .preflight import check_overrides, preflight
from .progress_hook import ProgressHook

__all__ = [
    'AutocastOptimWrapper',
    'CPUDistributedDataParallel',
    'ProgressHook',
    'check_overrides',
    'preflight',
    'prepare_cpu_distributed',
]
