"""The losses of DINO, iBOT and VICReg as modules."""
