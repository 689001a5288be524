"""What a user does with a run: train it, evaluate it, take features and backbones out of it."""
