"""The process that runs file operations in the service's stead, so that it can be killed when they hang.

Started by `store_lib.drivers._helper` with a socket as descriptor 3 and a lifeline as descriptor 4.  It loads the
module of file operations by its path, since the package around it imports far more than such a process needs.

A request is a header (length, number of a new block or 0), the descriptor of that block, and a pickled ``(name,
arguments, numbers of blocks that are gone)``; an answer is a length and a pickled ``(value, errno, text)``.  A buffer
is described as ``Span(number, start, end)``: bytes of a block of memory that both processes see.
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
            size, new_block = _HEADER.unpack(self._exactly(_HEADER.size))
            if new_block:
                self._take_block(new_block)
            name, arguments, gone = pickle.loads(self._exactly(size))
            for number in gone:
                self._blocks.pop(number, None)
            answer = pickle.dumps(self._call(name, arguments))
            self._socket.sendall(struct.pack("!I", len(answer)) + answer)

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            piece = self._socket.recv(size - len(data))
            if not piece:
                os._exit(0)
            data += piece
        return bytes(data)

    def _take_block(self, number: int) -> None:
        _, ancillary, _, _ = self._socket.recvmsg(1, socket.CMSG_SPACE(4))
        fds = array.array("i")
        fds.frombytes(ancillary[0][2][:4])
        size = os.fstat(fds[0]).st_size
        self._blocks[number] = memoryview(mmap.mmap(fds[0], size))
        os.close(fds[0])

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
