"""The parts of ``tools/benchmarks/gpu_check.py``, one a module."""
