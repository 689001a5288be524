"""DINO, iBOT, DINOv2 and VICReg, which MMPretrain lacks."""
