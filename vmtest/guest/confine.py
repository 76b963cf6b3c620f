#!/usr/bin/python3
"""Run a command for which the kernel refuses bpf(2), as a container's seccomp profile does.

Usage: confine.py COMMAND ARGUMENT...
"""

import ctypes
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
SYS_BPF = {"x86_64": 321, "aarch64": 280}
# Of linux/bpf_common.h and linux/seccomp.h: load a word, jump if equal, return.
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, ERRNO_EPERM = 0x7FFF0000, 0x00050000 | 1
NUMBER_OFFSET = 0  # of struct seccomp_data


def without_bpf_call():
    return ("python3", "/vmtest/confine.py")


def refuse_bpf():
    steps = [(LOAD, 0, 0, NUMBER_OFFSET), (JUMP_IF_EQUAL, 0, 1, SYS_BPF[os.uname().machine]),
             (RETURN, 0, 0, ERRNO_EPERM), (RETURN, 0, 0, ALLOW)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    for call in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0)):
        if libc.prctl(*call) != 0:
            raise OSError(ctypes.get_errno(), f"prctl {call[0]}")


if __name__ == "__main__":
    refuse_bpf()
    os.execvp(sys.argv[1], sys.argv[1:])
