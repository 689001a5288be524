"""Checks of a config before anything costly starts."""
