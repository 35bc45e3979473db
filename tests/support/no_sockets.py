"""A filter of the Linux kernel (seccomp) that ends the process when anything in it opens a socket.

Unlike Python's audit hooks it also sees the sockets of native libraries.
"""

from __future__ import annotations

import ctypes
import platform
import struct
import sys

SOCKET_CALL = {"x86_64": 41, "aarch64": 198}.get(platform.machine())
"""Number of the system call ``socket``; None on processors that this module does not know."""

IS_AVAILABLE = sys.platform == "linux" and SOCKET_CALL is not None

_SET_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER_MODE = 38, 22, 2  # <linux/prctl.h>
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06  # <linux/bpf_common.h>
_KILL_PROCESS, _ALLOW = 0x80000000, 0x7FFF0000  # <linux/seccomp.h>


def forbid_sockets() -> None:
    """End this process with SIGSYS at its next call of ``socket``, in any thread."""
    instructions = [
        struct.pack("HBBI", _LOAD, 0, 0, 0),  # the number of the system call
        struct.pack("HBBI", _JUMP_IF_EQUAL, 0, 1, SOCKET_CALL),
        struct.pack("HBBI", _RETURN, 0, 0, _KILL_PROCESS),
        struct.pack("HBBI", _RETURN, 0, 0, _ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(instructions))
    program = ctypes.create_string_buffer(
        struct.pack("HL", len(instructions), ctypes.addressof(code))
    )
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in (
        (_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0),
        (_SET_SECCOMP, _FILTER_MODE, ctypes.byref(program), 0, 0),
    ):
        if libc.prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
