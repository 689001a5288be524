from .hvs_algorithm import HVSAlgorithm
from .state import preserve_state

__all__ = ['HVSAlgorithm', 'preserve_state']
