"""Procedural images: outlines of the classes, paint, and two ways to lay out an image."""
