"""DINO, iBOT and VICReg, which MMPretrain lacks."""
