"""Decoding: a batch of frames becomes columns of header fields.

In: `ids.types.PacketBatch` from `ids.capture` or the rings. Out: `ids.types.Packets`, one row a frame, and behind it
one row more for each datagram that it completed and each packet that it carried in a tunnel.

    decoder.py    `Decoder`: the order of the steps on one screen
    columns.py    the columns while they are being filled, and how a row is refused
    layers.py     what came out of fragments and tunnels, and all of it as one batch
    link.py       link headers, VLAN tags, PPPoE, MPLS: where is the IP header?
    tunnels.py    GRE, ERSPAN, IP in IP, VXLAN, Geneve, Teredo: where is the inner packet?
    ipv4.py, ipv6.py   network headers
    options.py    IP options that hosts refuse a packet for
    transport.py  TCP, UDP, ICMP; anything else is a flow without ports
    checksum.py   Internet checksums of all rows at once
    offload.py    TCP segments whose checksum was left to a device: believed or not, `Offloaders`
    defrag.py     bounded reassembly of datagrams, `Defragmenter`; `holders` says which give way
    fragments.py  the fragments of a batch as columns
    versions.py   what other hosts than Linux make of contradicting fragments
    orderly.py    datagrams whose fragments are all in one batch: put together at once
    hashing.py    rows of several columns as one number
    tcp_options.py   TCP options that say whether a host takes a segment
    oddities.py   what is reported of packets, by Suricata's names
    settings.py   limits

Nothing here runs once per packet in Python, and nothing raises for what a packet contains. Next stage: `ids.flow`.
"""

from ids.decode.decoder import Decoder
from ids.decode.defrag import Defragmenter
from ids.decode.settings import DecodeSettings, DefragSettings, TunnelSettings

__all__ = ["DecodeSettings", "Decoder", "DefragSettings", "Defragmenter", "TunnelSettings"]
