"""Optimizer wrappers and schedules."""
