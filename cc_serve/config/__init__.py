"""The operator's file, and what follows from it for each caller."""
