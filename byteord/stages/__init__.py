"""The stage catalogue and the loaders of each kind of stage.

Imported by the shim and by forked workers: light, nothing of the control plane, Numba only when a
spec names it.
"""

from __future__ import annotations

import os


def include_dir() -> str:
    """Return the directory of `byteor_stage.h`, the public C header of stages, for `-I`.

    The same file in a source tree, an editable install and a wheel: the native sources include it
    from there.
    """
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "include")
