"""What both command lines use."""
