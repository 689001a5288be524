"""What is measured of selected views: overlap, color, agreement of two selections."""
