"""The commands of ``cc-train``, a module each: parse the arguments, call what does the work, print, and exit."""
