"""The captures in this folder as code: `wire` builds conversations, `http` speaks HTTP/1, the rest are the families.

Everything is deterministic: times, ports, sequence numbers and filler come from what is written here, never from a
clock or an unseeded generator. Addresses are from the documentation ranges (RFC 5737, RFC 3849), MAC addresses
from RFC 7042 section 2.1.2. Payloads are inert: they show what a rule looks for and stop there.
"""
