"""Vision transformers: masks, other image sizes, several layers, and their initial weights."""
