"""A file system that shows a directory and sleeps in chosen operations: ``python -m ...sleepy ROOT MOUNT CONTROL``.

An operation sleeps as long as a file of its name lies in the directory CONTROL.
"""

import errno
import os
import sys
import time

import mfusepy


class Sleepy(mfusepy.Operations):  # type: ignore[misc]
    """Passes everything on to a directory."""

    use_ns = True

    def __init__(self, root, control):
        self.root = root
        self.control = control

    def _at(self, path, operation):
        while os.path.exists(os.path.join(self.control, operation)):
            time.sleep(0.02)
        return self.root + path

    def getattr(self, path, fh=None):
        told = os.lstat(self._at(path, "stat"))
        names = ("st_mode", "st_nlink", "st_size", "st_uid", "st_gid", "st_blocks", "st_ino")
        times = {name: getattr(told, f"{name}_ns") for name in ("st_atime", "st_mtime", "st_ctime")}
        return {name: getattr(told, name) for name in names} | times

    def readdir(self, path, fh):
        return [".", "..", *os.listdir(self._at(path, "readdir"))]

    def create(self, path, mode, fi=None):
        return os.open(self._at(path, "create"), os.O_CREAT | os.O_EXCL | os.O_RDWR, mode)

    def open(self, path, flags):
        return os.open(self._at(path, "open"), flags & ~(os.O_NOFOLLOW | os.O_EXCL | os.O_CREAT))

    def read(self, path, size, offset, fh):
        self._at(path, "read")
        return os.pread(fh, size, offset)

    def write(self, path, data, offset, fh):
        self._at(path, "write")
        return os.pwrite(fh, data, offset)

    def truncate(self, path, length, fh=None):
        os.truncate(self._at(path, "truncate"), length)

    def fsync(self, path, datasync, fh):
        self._at(path, "fsync")
        os.fsync(fh)

    def fsyncdir(self, path, datasync, fh):
        return 0

    def release(self, path, fh):
        os.close(fh)

    def link(self, target, source):
        os.link(self._at(source, "link"), self.root + target)

    def unlink(self, path):
        os.unlink(self._at(path, "unlink"))

    def mkdir(self, path, mode):
        os.mkdir(self.root + path, mode)

    def chmod(self, path, mode):
        os.chmod(self.root + path, mode)

    def statfs(self, path):
        told = os.statvfs(self._at(path, "statfs"))
        names = ("f_bavail", "f_bfree", "f_blocks", "f_bsize", "f_ffree", "f_files", "f_frsize", "f_namemax")
        return {name: getattr(told, name) for name in names}

    def access(self, path, amode):
        if not os.access(self.root + path, amode):
            raise mfusepy.FuseOSError(errno.EACCES)


if __name__ == "__main__":
    root, mount, control = sys.argv[1:]
    mfusepy.FUSE(Sleepy(root, control), mount, foreground=True, attr_timeout=0, entry_timeout=0)
