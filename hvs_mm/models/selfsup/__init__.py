"""DINO and iBOT, which MMPretrain lacks."""
