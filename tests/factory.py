"""Ready-made values for tests: those that plugin authors have too."""

from ids.testing import NO_DATAGRAMS, T0, make_datagrams, make_flow, make_match, make_signature, make_streams

__all__ = ["NO_DATAGRAMS", "T0", "make_datagrams", "make_flow", "make_match", "make_signature", "make_streams"]
