"""Backups of an environment: made, listed, verified and pruned.

A backup is a folder `{stamp}_{env}`, on this machine and in the bootstrap's backup bucket. Its
manifest is written last and names every file by its checksum: without one it is no backup.
"""
