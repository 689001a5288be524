"""Colors of candidate views, changed in batches on the device of the model."""

from .batch import apply_photometry
from .blur import blur_kernels
from .device_photometry import DevicePhotometry, check_photometry_done
from .kornia_import import require_kornia

__all__ = [
    'DevicePhotometry',
    'apply_photometry',
    'blur_kernels',
    'check_photometry_done',
    'require_kornia',
]
