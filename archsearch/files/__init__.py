"""How files are written whole and read with care, so that damage is noticed and nothing is lost."""
