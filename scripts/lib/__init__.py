"""What the scripts share.

Importing it from a script has two effects. Outside of any virtual environment, the script starts again in the
project's own. And Ctrl-C ends it at once, as it ends any filter, with no traceback.
"""

import os
import signal
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_PYTHON = os.path.join(ROOT, ".venv", "bin", "python")

if os.path.dirname(os.path.abspath(sys.argv[0])) == os.path.join(ROOT, "scripts"):
    if sys.prefix == sys.base_prefix and os.path.exists(_PYTHON):
        os.execv(_PYTHON, [_PYTHON, *sys.orig_argv[1:]])
    signal.signal(signal.SIGINT, signal.SIG_DFL)
