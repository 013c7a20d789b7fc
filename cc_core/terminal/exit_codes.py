"""Exit codes of both command lines."""

from typing import Final

#: The command did its work and found something, or what it ran failed.
FAILURE: Final = 1
#: The caller has to correct an option, a file or a row; one line on stderr says which.
BAD_INPUT: Final = 2
#: Ctrl-C, as a shell counts it.
INTERRUPTED: Final = 130
