"""The resources of an environment: one component a file, and the pure parts they share."""
