"""What a stack is made of: which components, with which arguments, in which order."""
