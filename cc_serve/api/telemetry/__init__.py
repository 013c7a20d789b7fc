"""Counts, times and the log line of each request."""
