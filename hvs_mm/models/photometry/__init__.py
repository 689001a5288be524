"""Colors of candidate views, changed in batches on the device of the model."""
