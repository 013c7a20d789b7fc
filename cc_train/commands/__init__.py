"""The commands of ``cc-train``: each parses its arguments and calls what does the work."""
