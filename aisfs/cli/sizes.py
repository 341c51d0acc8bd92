"""Sizes as people write them."""


def in_words(count: int) -> str:
    """Return a number of bytes with its unit.

    >>> in_words(3 << 19)
    '1.5 MiB'
    """
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if count >= 1 << power:
            return f"{count / (1 << power):.1f} {unit}"
    return f"{count} bytes"
