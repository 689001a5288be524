from .autocast_optim_wrapper import AutocastOptimWrapper
from .checkpoint_checks import resumed_checkpoint
from .cpu_distributed import CPUDistributedDataParallel, prepare_cpu_distributed
from .gradient_hook import GradientHook, clip_each_gradient
from .overrides import check_overrides
from .preflight import error_line, preflight, preflight_test
from .progress_hook import ProgressHook
from .teacher_hook import TeacherHook, cosine_schedule
from .weight_decay import CosineWeightDecay

__all__ = [
    'AutocastOptimWrapper',
    'CPUDistributedDataParallel',
    'CosineWeightDecay',
    'GradientHook',
    'ProgressHook',
    'TeacherHook',
    'check_overrides',
    'clip_each_gradient',
    'cosine_schedule',
    'error_line',
    'preflight',
    'preflight_test',
    'prepare_cpu_distributed',
    'resumed_checkpoint',
]
