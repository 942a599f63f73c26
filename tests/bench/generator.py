"""A SYN flood at the highest rate that this machine makes: ``python -m tests.bench.generator …``, in a namespace.

An XDP program writes a SYN into each frame (another source port and sequence number, spoofed also another address) and
redirects it out of an interface; BPF_PROG_RUN with BPF_F_TEST_XDP_LIVE_FRAMES runs it as fast as the kernel goes (Linux
5.18). Sends only to the address given, for the time given, from the benchmark range 198.18.0.0/15 or from one address.

The kernel uses a frame's page again as the receiver left it, and a receiver that answers with XDP_TX leaves its answer
there. So the program writes the frame whole, every time: what it did not write would be the answer's.
"""

from __future__ import annotations

import argparse
import os
import socket
import struct
import sys
import time
from pathlib import Path

from ids.kernel.program.compile import include_flags
from ids.kernel.system import syscall

SHIM = Path(__file__).resolve().parents[2] / "bpf" / "shim"
BATCH = 1 << 16
PACED_BATCH = 64
"""SYNs sent at once where a rate is asked for."""

SOURCE = r"""
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/tcp.h>

static __always_inline __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

int flood(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + 14;
	struct tcphdr *tcp = data + 34;
	__u32 random = bpf_get_prandom_u32(), sum = 0;

	if (data + 54 > end)
		return XDP_DROP;
	WRITE_FRAME
	if (SPOOFED)
		ip->saddr = bpf_htonl(0xc6120000 | (random & 0x1ffff));
	tcp->source = random >> 16;
	tcp->seq = bpf_get_prandom_u32();
	ip->check = 0;
	tcp->check = 0;
#pragma unroll
	for (int i = 0; i < 10; i++)
		sum += ((__u16 *)ip)[i];
	ip->check = fold(sum);
	sum = (ip->saddr & 0xffff) + (ip->saddr >> 16) + (ip->daddr & 0xffff) + (ip->daddr >> 16);
	sum += bpf_htons(6) + bpf_htons(20);
#pragma unroll
	for (int i = 0; i < 10; i++)
		sum += ((__u16 *)tcp)[i];
	tcp->check = fold(sum);
	return bpf_redirect(IFINDEX, 0);
}
"""


def syn(source: str, target: str, port: int, mac: bytes, own_mac: bytes) -> bytes:
    """Return the frame that the program varies: 54 bytes, checksums left to it."""
    ip = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 40, 1, 0x4000, 64, 6, 0, socket.inet_aton(source), socket.inet_aton(target)
    )
    tcp = struct.pack("!HHIIBBHHH", 1024, port, 1, 0, 0x50, 2, 65535, 0, 0)
    return mac + own_mac + b"\x08\x00" + ip + tcp


def load(interface: str, spoofed: bool, frame: bytes) -> int:
    """Compile and load the program that varies a frame; return its descriptor."""
    os.environ["BCC_KERNEL_SOURCE"] = str(SHIM)
    from bcc import BPF

    words = enumerate(struct.unpack(f"<{len(frame) // 2}H", frame))
    write = "".join(f"((__u16 *)data)[{index}]={word};" for index, word in words)
    defines = [f"-DIFINDEX={socket.if_nametoindex(interface)}", f"-DSPOOFED={int(spoofed)}", f"-DWRITE_FRAME={write}"]
    module = BPF(text=SOURCE.encode(), cflags=["-w", *include_flags(), *defines])
    return syscall.prog_load("flood", bytes(module.dump_func(b"flood")))


def main() -> int:
    """Send, then print the number of SYNs and the seconds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--interface", required=True)
    parser.add_argument("--mac", required=True, help="of the next hop")
    parser.add_argument("--target", required=True)
    parser.add_argument("--port", type=int, default=80)
    parser.add_argument("--source", default="198.18.0.1", help="used as it is, unless --spoofed")
    parser.add_argument("--spoofed", action="store_true", help="another source for each SYN")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=float, default=0.0, help="SYNs a second; 0: as many as the kernel makes")
    options = parser.parse_args()
    own = Path(f"/sys/class/net/{options.interface}/address")
    own_mac = bytes.fromhex(own.read_text().strip().replace(":", "")) if own.exists() else b"\x02" + bytes(5)
    frame = syn(options.source, options.target, options.port, bytes.fromhex(options.mac.replace(":", "")), own_mac)
    program = load(options.interface, options.spoofed, frame)
    print("ready", flush=True)
    started, sent = time.monotonic(), 0
    while time.monotonic() - started < options.seconds:
        batch = BATCH
        if options.rate:
            batch = int((time.monotonic() - started) * options.rate) - sent
            if batch < PACED_BATCH:
                time.sleep(PACED_BATCH / options.rate)
                continue
        syscall.prog_test_run(program, frame, batch, syscall.F_TEST_XDP_LIVE_FRAMES)
        sent += batch
    print(sent, time.monotonic() - started, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
