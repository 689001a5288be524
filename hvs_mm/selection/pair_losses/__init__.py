"""Thin adapters: how each method forwards the candidates, and the loss formed of them."""
