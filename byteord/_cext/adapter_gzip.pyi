import zlib
from typing import final

InflateError = zlib.error

@final
class Inflate:
    def __new__(cls, fd: int) -> Inflate: ...
    def skip(self, offset: int) -> None: ...

def attach(address: int, inflate: Inflate) -> None: ...
