"""Projections of DINO, iBOT and DINOv2, and the feature pyramid of detectors."""
