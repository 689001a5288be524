"""The losses of DINO and iBOT as modules with temperatures and centers."""
