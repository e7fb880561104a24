#!/usr/bin/env python3
"""without_io_uring.py COMMAND ...: runs it where io_uring is blocked, as a container's filter does.

A seccomp filter that the command cannot take off answers EPERM to io_uring_setup(2), io_uring_enter(2)
and io_uring_register(2), which have the same numbers on every architecture."""
import ctypes
import errno
import os
import struct
import sys

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38
SECCOMP_MODE_FILTER = 2
LOAD_NUMBER, IS_AT_LEAST, IS_ABOVE, ANSWER = 0x20, 0x35, 0x25, 0x06  # BPF of linux/bpf_common.h
ALLOW, REFUSE = 0x7fff0000, 0x00050000 | errno.EPERM


class Program(ctypes.Structure):
    _fields_ = [("size", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def block():
    steps = [(LOAD_NUMBER, 0, 0, 0), (IS_AT_LEAST, 0, 2, 425), (IS_ABOVE, 1, 0, 427),
             (ANSWER, 0, 0, REFUSE), (ANSWER, 0, 0, ALLOW)]
    program = Program(len(steps), b"".join(struct.pack("=HBBI", *step) for step in steps))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    address = ctypes.addressof(program)
    if prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 or \
            prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, address, 0, 0) != 0:
        sys.exit(f"seccomp: {os.strerror(ctypes.get_errno())}")


block()
os.execvp(sys.argv[1], sys.argv[1:])
