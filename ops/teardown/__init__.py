"""Taking an environment down: what would be lost, a backup, the cluster, the rest, and a look back.

`command` has the operation; each other module is one part of it.
"""
