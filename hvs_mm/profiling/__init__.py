"""What a training step with hard view selection costs."""

from .clock import Clock, Times, summarize
from .memory import peak_memory
from .random_batch import Batch, random_batch
from .step import StepCost, Steps, count_operations, measure_step

__all__ = [
    'Batch',
    'Clock',
    'StepCost',
    'Steps',
    'Times',
    'count_operations',
    'measure_step',
    'peak_memory',
    'random_batch',
    'summarize',
]
