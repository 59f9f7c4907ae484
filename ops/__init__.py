"""The operators' commands. `python -m ops` and the script `ops` start in `ops.__main__`."""

import sys

# Said here, in words that every Python can parse, because this module is read before all others.
if sys.version_info < (3, 11):  # noqa: UP036 - the guard is for the interpreters it refuses
    sys.exit(
        "error: ops needs Python 3.11 or later; this is Python %d.%d (%s).\n"  # noqa: UP031
        "       Nothing was run or changed. Install Python 3.11+, make a virtual environment with\n"
        "       it (`make sandbox` does both steps that follow) and run ops from there."
        % (sys.version_info[0], sys.version_info[1], sys.executable)
    )
