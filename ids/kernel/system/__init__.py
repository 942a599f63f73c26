"""What the kernel offers any program: bpf(2), its file system for pins, netlink, and its clock.

In: numbers and bytes. Out: descriptors, bytes, and `syscall.BpfError` where the kernel refused. Nothing in here knows
what the maps and programs are for.
"""
