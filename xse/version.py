"""The version of xse. meson.build reads this line."""

VERSION = "0.1.0"


def mismatch(pool: str, ours: str) -> str:
    """The error text for an xse-pool of another version."""
    return f"xse-pool is version {pool}, and the executor's xse is {ours}: install the same in both places"
