"""Restores: of an environment that is gone, of what is missing in one that is there, on a copy."""
