"""The commands of ``cc-serve``."""
