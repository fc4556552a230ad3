"""A file of a provider's storage as Python's files are, read by ranges."""

import io
from collections.abc import Callable
from typing import Any


class RemoteFile(io.RawIOBase):
    """Reads what is asked for and nothing ahead; wrap it in a buffer to read in larger pieces."""

    def __init__(self, size: int, read: Callable[[int, int], bytes]) -> None:
        """A file of `size` bytes; `read` gives so many bytes from a position on."""
        self._size = size
        self._read = read
        self._position = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position; nothing is read."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        """The next bytes, fewer at the end only."""
        left = self._size - self._position
        wanted = left if size < 0 else min(size, left)
        if wanted <= 0:
            return b""
        content = self._read(self._position, wanted)
        self._position += len(content)
        return content

    def readinto(self, buffer: Any) -> int:
        """As `read`, into a buffer."""
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)
