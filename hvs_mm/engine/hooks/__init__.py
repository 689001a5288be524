"""Hooks of the training loop: each does one thing at named points of it."""
