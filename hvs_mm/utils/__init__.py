"""Small tools without a room of their own; nothing here imports from the other rooms."""
