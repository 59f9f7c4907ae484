"""`ops doctor`: whether a command could work here and now, and what to do where it could not.

It changes nothing, and works where nothing is set up: what cannot be looked at is told as that.
"""
