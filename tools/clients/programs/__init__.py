"""A program for each client. It runs where only that client is installed, and imports nothing else but `steps`."""
