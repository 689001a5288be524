"""Training with the images in memory and views drawn in batches, without a Runner."""
