"""usage: delay.py PORT TAP MILLISECONDS
Pass Ethernet frames between the network device PORT and a new device TAP,
each MILLISECONDS late.  What `hosts.sh delay` uses where the kernel has no
netem; ends when killed, and TAP goes with it."""

import collections
import contextlib
import errno
import fcntl
import os
import select
import socket
import struct
import sys
import time

port, tap, delay = sys.argv[1], sys.argv[2], float(sys.argv[3]) / 1000
TUNSETIFF, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x400454CA, 2, 0x1000, 0x4000
SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING, ETH_P_ALL = 263, 15, 23, 3
t = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
fcntl.ioctl(t, TUNSETIFF, struct.pack("16sH22x", tap.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
s.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)  # frames keep their offload headers
s.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
s.bind((port, 0))
s.setblocking(False)
other, late = {t: s.fileno(), s.fileno(): t}, collections.deque()
while True:
    wait = max(0.0, late[0][0] - time.monotonic()) if late else None
    ready, _, _ = select.select(list(other), [], [], wait)
    for fd in ready:
        try:
            while True:
                late.append((time.monotonic() + delay, other[fd], os.read(fd, 1 << 17)))
        except OSError as e:  # a cut link reports ENETDOWN, once
            if e.errno not in (errno.EAGAIN, errno.ENETDOWN, errno.EIO):
                raise
    while late and late[0][0] <= time.monotonic():
        _, fd, frame = late.popleft()
        with contextlib.suppress(OSError):  # full or down: lost, as on a wire
            os.write(fd, frame)
