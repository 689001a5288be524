"""Projections of DINO and iBOT, and the feature pyramid of detectors."""
