"""Measures of selected views: overlap, color, and how they compare with all candidates."""
