"""For ``custom_imports`` of MMDetection's configs: this package, once operators are there."""

from .utils.torchvision_ops import check_operators

check_operators()
