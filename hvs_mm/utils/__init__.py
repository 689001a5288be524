"""Small tools that every other package may import; they import none of them."""
