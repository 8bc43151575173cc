# The typed face of `cext/timekeeping.pyx`.

from typing import final

@final
class SilentInput:
    def __new__(cls, fd: int) -> SilentInput: ...
    def keep(self, silent_s: float) -> bool: ...
