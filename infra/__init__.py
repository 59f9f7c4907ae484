"""The program's frame: what a stack file means, how things are named, which provider acts."""
