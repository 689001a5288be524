"""Vision transformers with masks, with the tokens of several layers, and their initial weights."""
