"""Operations on 8-bit images: upstream's results in a fraction of the time."""
