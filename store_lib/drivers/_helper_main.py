"""The process that runs file operations in the service's stead, so that it can be killed when they hang.

Started by `store_lib.drivers._helper` with a socket as descriptor 3 and a lifeline as descriptor 4.  It loads the
module of file operations by its path, since the package around it imports far more than such a process needs.

A request is a header (length, number of a new block or 0) and a pickled ``(name, arguments, numbers of blocks that are
gone)``, with the descriptor of the new block beside its first bytes; an answer is a length and a pickled ``(value,
errno, text)``.  The service waits for each answer before it sends anything else, so that either side takes what comes
as one message.  A buffer is described as ``Span(number, start, end)``: bytes of a block of memory that both processes
see.
"""

import _thread
import array
import importlib.util
import mmap
import os
import pickle
import signal
import socket
import struct
import sys
from typing import Any

_SOCKET, _LIFELINE = 3, 4
_HEADER = struct.Struct("!II")
#: Most bytes of a request that are taken at once; nearly all are shorter.
_PIECE = 16384
_PACKAGE = "store_lib.drivers"


def _operations() -> dict[str, Any]:
    """Return the file operations by name; their modules get the names by which the service knows their types."""
    for package in ("store_lib", _PACKAGE):  # empty: they lead to the modules
        sys.modules[package] = type(sys)(package)
    return {**vars(_loaded("_posix")), **vars(_loaded("_posix_copy"))}


def _loaded(name: str) -> Any:
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"{_PACKAGE}.{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[f"{_PACKAGE}.{name}"] = module
    setattr(sys.modules[_PACKAGE], name, module)
    spec.loader.exec_module(module)
    return module


def _die_with_parent() -> None:
    """End with the service, even while the main thread hangs in the kernel: nobody will read its answer."""
    while True:
        try:
            os.read(_LIFELINE, 1)
        except OSError:
            pass
        os.kill(os.getpid(), signal.SIGKILL)


class _Server:
    def __init__(self) -> None:
        self._socket = socket.socket(fileno=_SOCKET)
        self._blocks: dict[int, memoryview] = {}
        self._operations = _operations()

    def run(self) -> None:
        """Serve requests until the service closes its end."""
        while True:
            name, arguments, gone = pickle.loads(self._request())
            for number in gone:
                self._blocks.pop(number, None)
            answer = pickle.dumps(self._call(name, arguments))
            self._socket.sendall(struct.pack("!I", len(answer)) + answer)

    def _request(self) -> memoryview:
        data = bytearray()
        fds = array.array("i")
        size, new_block = _HEADER.size, 0
        while len(data) < size:
            piece, beside, _, _ = self._socket.recvmsg(_PIECE, socket.CMSG_SPACE(fds.itemsize))
            if not piece:
                os._exit(0)
            for _, _, passed in beside:
                fds.frombytes(passed[: fds.itemsize])
            if len(data) < _HEADER.size <= len(data) + len(piece):
                length, new_block = _HEADER.unpack_from(data + piece)
                size += length
            data += piece
        if new_block:
            self._take_block(new_block, fds[0])
        return memoryview(data)[_HEADER.size :]

    def _take_block(self, number: int, fd: int) -> None:
        self._blocks[number] = memoryview(mmap.mmap(fd, os.fstat(fd).st_size))
        os.close(fd)

    def _call(self, name: str, arguments: tuple[Any, ...]) -> tuple[Any, int | None, str]:
        try:
            found = [self._seen(each) for each in arguments]
            return self._operations[name](*found), None, ""
        except OSError as error:
            return None, error.errno or 0, error.strerror or str(error)

    def _seen(self, argument: Any) -> Any:
        if isinstance(argument, self._operations["Span"]):
            return self._blocks[argument.number][argument.start : argument.end]
        return argument


if __name__ == "__main__":
    _thread.start_new_thread(_die_with_parent, ())
    _Server().run()
