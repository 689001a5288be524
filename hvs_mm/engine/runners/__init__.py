"""Runner, loop and checkpoints that survive kills."""
