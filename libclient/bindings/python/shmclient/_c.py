# SPDX-License-Identifier: Apache-2.0
"""libshmclient as ctypes sees it: the structs, constants and functions of shmclient.h that are used
here.  tests/bindings/python/drift.py compares all of it with the header."""

from __future__ import annotations

import ctypes
from ctypes import (
    POINTER, Structure, c_bool, c_char, c_char_p, c_int, c_int32, c_int64, c_size_t, c_ssize_t,
    c_uint, c_uint32, c_uint64, c_void_p,
)
from typing import Any

NAME_BYTES = 64
AGE_UNKNOWN = 2**64 - 1

# pid_t, uid_t and enums, as Debian's ABIs have them.
pid_t, uid_t, enum = c_int32, c_uint32, c_uint32
_name = c_char * NAME_BYTES

CONSTANTS = {
    "SHMC_DEFAULT_KEY": 0x53484D31, "SHMC_NAME_BYTES": NAME_BYTES,
    "SHMC_LEASE_FD": 0x1, "SHMC_ANONYMOUS": 0x2,
    "SHMC_RAW": 1, "SHMC_SNAPSHOT": 2, "SHMC_SLOTS": 3, "SHMC_QUEUE": 4,
    "SHMC_GONE": 0, "SHMC_ALIVE": 1, "SHMC_UNKNOWN": 2,
    "SHMC_STAMP_PRECISE": 0, "SHMC_STAMP_COARSE": 1, "SHMC_STAMP_NONE": 2,
    "SHMC_NOTIFY_DEMAND": 0, "SHMC_NOTIFY_ALWAYS": 1, "SHMC_NOTIFY_NEVER": 2,
    "SHMC_CREATE_EXCLUSIVE": 0x1, "SHMC_CREATE_TRANSIENT": 0x2, "SHMC_CREATE_PERSIST": 0x4,
    "SHMC_CREATE_SHARED": 0x8, "SHMC_CREATE_PREGRAB": 0x10, "SHMC_CREATE_CLEAR": 0x20,
    "SHMC_CREATE_CLEAR_RESTART": 0x40,
    "SHMC_TRUNCATE": 0x1, "SHMC_EXCEPT": 0x2, "SHMC_INTERRUPTIBLE": 0x4,
    "SHMC_SLOT_STAYS": 0x1, "SHMC_SLOT_IN_USE": 0x2,
}
DEFAULT_KEY = CONSTANTS["SHMC_DEFAULT_KEY"]
LEASE_FD = CONSTANTS["SHMC_LEASE_FD"]
ANONYMOUS = CONSTANTS["SHMC_ANONYMOUS"]
TRUNCATE = CONSTANTS["SHMC_TRUNCATE"]
EXCEPT = CONSTANTS["SHMC_EXCEPT"]
INTERRUPTIBLE = CONSTANTS["SHMC_INTERRUPTIBLE"]
SLOT_STAYS = CONSTANTS["SHMC_SLOT_STAYS"]


class shmc_options(Structure):
    _fields_ = [
        ("size", c_size_t), ("worker", c_char_p), ("key", c_uint32), ("flags", c_uint32),
        ("runtime_dir", c_char_p), ("timeout_ms", c_int), ("holder", POINTER(pid_t)),
        ("error", c_void_p), ("error_bytes", c_size_t),
    ]


class shmc_section_info(Structure):
    _fields_ = [
        ("name", _name), ("owner", _name), ("format", _name), ("kind", enum), ("writer", enum),
        ("section_id", c_uint64), ("incarnation", c_uint64), ("generation", c_uint64),
        ("offset", c_uint64), ("bytes", c_uint64), ("size", c_uint64), ("count", c_uint32),
        ("persist", c_bool), ("shared", c_bool), ("pinned", c_bool), ("own", c_bool),
        ("stale_ms", c_uint64), ("version", c_uint64), ("length", c_uint64), ("real_ns", c_uint64),
        ("age_ns", c_uint64), ("stale", c_bool), ("moving", c_bool), ("made", c_bool),
        ("transient", c_bool), ("aborted", c_uint64), ("wakes", c_uint64),
        ("wake_errors", c_uint64), ("messages", c_uint64), ("reserved", c_uint64 * 7),
    ]


class shmc_worker_info(Structure):
    _fields_ = [
        ("name", _name), ("state", enum), ("granted", c_bool), ("epoch", c_uint64), ("pid", pid_t),
        ("uid", uid_t), ("since_real_ns", c_uint64), ("ended_real_ns", c_uint64),
        ("end_reason", c_uint32), ("end_detail", c_uint32), ("attachment", c_uint32),
        ("reserved", c_uint64 * 4),
    ]


class shmc_attachment_info(Structure):
    _fields_ = [
        ("attachment", c_uint32), ("granted", c_bool), ("epoch", c_uint64), ("pid", pid_t),
        ("uid", uid_t), ("since_real_ns", c_uint64), ("reserved", c_uint64 * 4),
    ]


class shmc_segment_info(Structure):
    _fields_ = [
        ("key", c_uint32), ("id", c_int), ("abi", c_uint32), ("backend", c_uint32),
        ("protection", c_char_p), ("bytes", c_uint64), ("arena_bytes", c_uint64),
        ("generation", c_uint64), ("sections", c_uint32), ("workers", c_uint32),
        ("state", c_uint32), ("manager_alive", c_bool), ("manager_pid", pid_t),
        ("heartbeat_age_ns", c_uint64), ("created_real_ns", c_uint64), ("base", c_void_p),
        ("reserved", c_uint64 * 8),
    ]


class shmc_expect(Structure):
    _fields_ = [
        ("size", c_size_t), ("kind", enum), ("reserved", c_uint32), ("format", c_char_p),
        ("min_size", c_uint64),
    ]


class shmc_create_options(Structure):
    _fields_ = [
        ("size", c_size_t), ("kind", enum), ("count", c_uint32), ("bytes", c_uint64),
        ("format", c_char_p), ("read_group", c_char_p), ("stale_ms", c_uint64), ("stamp", enum),
        ("notify", enum), ("flags", c_uint32), ("reserved", c_uint32), ("write_group", c_char_p),
    ]


class shmc_value(Structure):
    _fields_ = [
        ("version", c_uint64), ("length", c_uint64), ("missed", c_uint64), ("real_ns", c_uint64),
        ("age_ns", c_uint64), ("writer", enum), ("stale", c_bool), ("incarnation", c_uint64),
        ("reserved", c_uint64 * 4),
    ]


class shmc_message(Structure):
    _fields_ = [
        ("type", c_int64), ("length", c_uint64), ("id", c_uint64), ("lane", c_uint32),
        ("pid", pid_t), ("worker", _name), ("real_ns", c_uint64), ("age_ns", c_uint64),
        ("redelivered", c_bool), ("truncated", c_bool), ("reserved", c_uint64 * 4),
    ]


class shmc_outgoing(Structure):
    _fields_ = [("type", c_int64), ("data", c_void_p), ("bytes", c_size_t)]


class shmc_queue_stat(Structure):
    _fields_ = [
        ("messages", c_uint64), ("bytes", c_uint64), ("lane_messages", c_uint64),
        ("lane_bytes", c_uint64), ("message_bytes", c_uint64), ("lanes", c_uint32),
        ("lanes_held", c_uint32), ("lanes_bad", c_uint32), ("reserved1", c_uint32),
        ("sent", c_uint64), ("received", c_uint64), ("sent_bytes", c_uint64),
        ("refused", c_uint64), ("blocked_ns", c_uint64), ("relocated", c_uint64),
        ("takeovers", c_uint64), ("wakes", c_uint64), ("high_messages", c_uint64),
        ("high_bytes", c_uint64), ("oldest_real_ns", c_uint64), ("last_send_pid", pid_t),
        ("last_receive_pid", pid_t), ("last_send_real_ns", c_uint64),
        ("last_receive_real_ns", c_uint64), ("changed_generation", c_uint64),
        ("changed_real_ns", c_uint64), ("reserved", c_uint64 * 6),
    ]


class shmc_lane_stat(Structure):
    _fields_ = [
        ("lane", c_uint32), ("held", c_bool), ("bad", c_bool), ("waiting", c_bool), ("pid", pid_t),
        ("worker", _name), ("trouble", _name), ("messages", c_uint64), ("bytes", c_uint64),
        ("sent", c_uint64), ("received", c_uint64), ("sent_bytes", c_uint64),
        ("refused", c_uint64), ("blocked_ns", c_uint64), ("relocated", c_uint64),
        ("takeovers", c_uint64), ("wakes", c_uint64), ("high_messages", c_uint64),
        ("high_bytes", c_uint64), ("last_receive_pid", pid_t), ("last_send_real_ns", c_uint64),
        ("last_receive_real_ns", c_uint64), ("reserved", c_uint64 * 4),
    ]


class shmc_slot(Structure):
    _fields_ = [
        ("slot", c_int), ("pid", pid_t), ("worker", _name), ("in_use", c_bool), ("held", c_bool),
        ("offered", c_bool), ("stays", c_bool), ("has_data", c_bool), ("since_real_ns", c_uint64),
        ("grabs", c_uint64), ("version", c_uint64), ("length", c_uint64), ("real_ns", c_uint64),
        ("age_ns", c_uint64), ("reserved", c_uint64 * 4),
    ]


_p = c_void_p  # handles, buffers and outputs
FUNCTIONS = {
    "shmc_attach": (c_int, _p, _p),
    "shmc_detach": (None, _p),
    "shmc_last_error": (c_char_p, _p),
    "shmc_lease_fd": (c_int, _p),
    "shmc_lease_env": (c_int, _p, _p, c_size_t),
    "shmc_segment": (c_int, _p, _p),
    "shmc_sections": (c_int, _p, _p, _p),
    "shmc_workers": (c_int, _p, _p, _p),
    "shmc_attachments": (c_int, _p, _p, _p),
    "shmc_inspect": (c_int, _p, _p, _p),
    "shmc_inspect_worker": (c_int, _p, _p, _p),
    "shmc_open": (c_int, _p, _p, _p, _p),
    "shmc_close": (None, _p),
    "shmc_section_info": (c_int, _p, _p),
    "shmc_create": (c_int, _p, _p, _p),
    "shmc_drop": (c_int, _p, _p),
    "shmc_raw": (c_int, _p, _p, _p),
    "shmc_raw_writable": (c_int, _p, _p, _p),
    "shmc_raw_read": (c_ssize_t, _p, c_size_t, _p, c_size_t),
    "shmc_raw_write": (c_ssize_t, _p, c_size_t, _p, c_size_t),
    "shmc_publish": (c_int, _p, _p, c_size_t),
    "shmc_begin": (c_int, _p, _p, _p),
    "shmc_commit": (c_int, _p, c_size_t),
    "shmc_abort": (None, _p),
    "shmc_read": (c_ssize_t, _p, _p, c_size_t, _p),
    "shmc_view": (c_int, _p, _p, _p, _p),
    "shmc_valid": (c_int, _p),
    "shmc_next": (c_ssize_t, _p, _p, c_size_t, c_int, _p),
    "shmc_follow": (c_ssize_t, _p, _p, c_size_t, c_int, _p),
    "shmc_wait_any": (c_int, _p, c_uint, c_int),
    "shmc_set_spin": (c_int, _p, c_uint),
    "shmc_fd": (c_int, _p),
    "shmc_queue_send": (c_int, _p, c_int64, _p, c_size_t, c_uint, c_int),
    "shmc_queue_send_batch": (c_ssize_t, _p, _p, c_size_t, c_uint, c_int),
    "shmc_queue_receive": (c_ssize_t, _p, c_int64, _p, c_size_t, c_uint, c_int, _p),
    "shmc_queue_peek": (c_int, _p, c_int64, _p, _p, c_uint, c_int, _p),
    "shmc_queue_ack": (c_int, _p),
    "shmc_queue_abandon": (c_int, _p),
    "shmc_queue_look": (c_ssize_t, _p, c_size_t, _p, c_size_t, c_uint, _p),
    "shmc_queue_stat": (c_int, _p, _p, _p, _p),
    "shmc_manager": (c_int, _p, _p, _p),
    "shmc_slot_grab": (c_int, _p, c_uint),
    "shmc_slot_fgrab": (c_int, _p, c_int, c_uint),
    "shmc_slot_release": (c_int, _p, c_int),
    "shmc_slot_put": (c_int, _p, c_int, _p, c_size_t),
    "shmc_slot_get": (c_ssize_t, _p, c_int, _p, c_size_t, _p),
    "shmc_slot_ptr": (c_int, _p, c_int, _p, _p),
    "shmc_num_slots": (c_int, _p),
    "shmc_num_free": (c_int, _p),
    "shmc_slot_size": (c_ssize_t, _p),
    "shmc_slot_offer": (c_int, _p, c_int, _p),
    "shmc_slot_take": (c_int, _p, c_int, c_uint64),
    "shmc_version": (c_char_p,),
}


def _load() -> Any:
    try:
        loaded = ctypes.CDLL("libshmclient.so.0")  # lets go of the GIL in each call
    except OSError as reason:
        raise ImportError(
            f"libshmclient.so.0 can't be loaded ({reason}): install shm-manager, and run ldconfig "
            "or set LD_LIBRARY_PATH to where it is"
        ) from None
    for name, (result, *arguments) in FUNCTIONS.items():
        try:
            function = getattr(loaded, name)
        except AttributeError:
            raise ImportError(f"libshmclient.so.0 has no {name}(): install a newer one") from None
        function.restype, function.argtypes = result, arguments
    return loaded


lib = _load()
libc = ctypes.CDLL(None)
libc.free.restype, libc.free.argtypes = None, [c_void_p]
libc.mmap.restype = c_void_p
libc.mmap.argtypes = [c_void_p, c_size_t, c_int, c_int, c_int, c_int64]


class Py_buffer(Structure):
    """As the C API has had it since 3.0, by which read-only buffers are had without a copy."""

    _fields_ = [
        ("buf", c_void_p), ("obj", c_void_p), ("len", c_ssize_t), ("itemsize", c_ssize_t),
        ("readonly", c_int), ("ndim", c_int), ("format", c_char_p), ("shape", c_void_p),
        ("strides", c_void_p), ("suboffsets", c_void_p), ("internal", c_void_p),
    ]


get_buffer = ctypes.pythonapi.PyObject_GetBuffer
get_buffer.argtypes = [ctypes.py_object, POINTER(Py_buffer), c_int]
release_buffer = ctypes.pythonapi.PyBuffer_Release
release_buffer.restype, release_buffer.argtypes = None, [POINTER(Py_buffer)]
WRITABLE = 0x1  # PyBUF_WRITABLE; 0 is PyBUF_SIMPLE: contiguous bytes
