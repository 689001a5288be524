"""Images inside of large files: tar shards, and data sets of Hugging Face."""
