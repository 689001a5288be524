"""Measures of selected views: overlap, color, agreement of two selections."""
