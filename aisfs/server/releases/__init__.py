"""What differs between the releases of AIS: wordings, defaults, forms. `eras.py` picks of it."""
