"""The lock under which Python is parsed: CPython of before 2024 may raise SystemError where two threads do it.

See python/cpython#106905. The header of each array in a `.npz` file is Python too.
"""

import threading

PYTHON_PARSER = threading.Lock()
