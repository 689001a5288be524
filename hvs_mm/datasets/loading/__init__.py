"""Images that are checked before they are used."""
