from .batch import apply_photometry
from .blur import blur_kernels
from .device_photometry import PHOTOMETRY_FIELD, DevicePhotometry, check_photometry_done
from .kornia_import import require_kornia
from .operations import OPERATIONS, Operation, pack_operations, stack_operations

__all__ = [
    'OPERATIONS',
    'PHOTOMETRY_FIELD',
    'DevicePhotometry',
    'Operation',
    'apply_photometry',
    'blur_kernels',
    'check_photometry_done',
    'pack_operations',
    'require_kornia',
    'stack_operations',
]
