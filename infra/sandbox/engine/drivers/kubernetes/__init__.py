"""The kubernetes provider: objects applied to a sandbox cluster's API server, or only recorded."""
