"""The server as a process: its start, its log, and the CPU that it runs on."""
