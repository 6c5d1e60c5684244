"""A client of libzeropool for end-to-end tests, by its C interface: holds buffers, and may get and put others.

Says "ready" when it holds what it was asked to hold, and ends with its parent, or by SIGTERM.
"""

import argparse
import ctypes
import os
import signal
import time

from zeropool_process import end_with_parent


class Buffer(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("pool", ctypes.c_void_p), ("word", ctypes.c_uint64),
                ("slot", ctypes.c_uint32), ("size", ctypes.c_uint32)]


class OpenOptions(ctypes.Structure):
    _fields_ = [("struct_bytes", ctypes.c_size_t), ("socket", ctypes.c_char_p),
                ("timeout_ns", ctypes.c_int64), ("fd", ctypes.c_int),
                ("client_name", ctypes.c_char_p), ("flags", ctypes.c_uint32),
                ("reserved", ctypes.c_uint32)]


class Pool:
    def __init__(self, socket, name, client_name):
        self.library = ctypes.CDLL(os.environ["LIBZEROPOOL"])
        self.library.zp_last_error.restype = ctypes.c_char_p
        self.library.zp_get_many.restype = ctypes.c_size_t
        self.library.zp_get_many.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t,
                                             ctypes.c_void_p]
        self.library.zp_put_batch.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        self.library.zp_put_batch.restype = None
        options = OpenOptions(ctypes.sizeof(OpenOptions), socket.encode(), 0, -1,
                              client_name.encode(), 0, 0)
        self.pool = ctypes.c_void_p()
        if self.library.zp_open(name.encode(), ctypes.byref(options), ctypes.byref(self.pool)) != 0:
            raise SystemExit(self.library.zp_last_error().decode())

    def get_many(self, size, count):
        buffers = (Buffer * count)()
        got = 0
        while got < count:
            place = ctypes.byref(buffers, got * ctypes.sizeof(Buffer))
            more = self.library.zp_get_many(self.pool, size, count - got, place)
            if more == 0:
                raise SystemExit(self.library.zp_last_error().decode())
            got += more
        return buffers

    def put(self, buffers):
        self.library.zp_put_batch(buffers, len(buffers))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", required=True)
    parser.add_argument("--pool", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--hold", type=int, default=0, help="buffers that it keeps")
    parser.add_argument("--busy", type=int, default=0, help="buffers that it gets and puts, again and again")
    parser.add_argument("--want", type=int, default=0, help="buffers that it waits for, once it is ready")
    parser.add_argument("--pause-ms", type=float, default=2)
    arguments = parser.parse_args()
    end_with_parent(signal.SIGKILL)
    pool = Pool(arguments.socket, arguments.pool, arguments.name)
    held = pool.get_many(arguments.size, arguments.hold) if arguments.hold else None
    print("ready", flush=True)
    if arguments.want:
        held = [held, pool.get_many(arguments.size, arguments.want)]
    round_number = 0
    while True:
        if arguments.busy:
            # Now much, now little, so that there is something to see.
            many = arguments.busy if round_number % 50 < 10 else max(1, arguments.busy // 8)
            pool.put(pool.get_many(arguments.size, many))
            round_number += 1
        time.sleep(arguments.pause_ms / 1000)


if __name__ == "__main__":
    main()
