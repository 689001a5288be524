"""Candidate views and the transforms they draw."""
