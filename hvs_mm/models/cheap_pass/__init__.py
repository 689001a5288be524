"""Cheaper passes over the candidates: smaller views, fewer tokens, early exit, lower precision."""
