"""The embedded sandbox: a cloud and an engine that need no account and no CLI."""
