"""How far TCP connections had come when they ended, in the states that Suricata has.

THEORY. A FIN and its acknowledgement are known of each side. Where one side alone sent a FIN it was the first: the
client's makes *CLOSE_WAIT*, the server's *FIN_WAIT1* and, once acknowledged, *FIN_WAIT2*. Where both did, the first is
the one that is acknowledged, for who sends the second has seen it: then *LAST_ACK* waits for the client's last
acknowledgement, and *TIME_WAIT* for the server's; with both acknowledged, or after a RST, it is *CLOSED*.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ids.flow.tcp import Connection
from ids.types import I64, U8, Bool, FlowState, TcpState

_ANSWERED = 2
"""Steps of a handshake, up to the SYN/ACK."""
_OF_FINS = np.array(
    [
        TcpState.ESTABLISHED, TcpState.CLOSE_WAIT, TcpState.FIN_WAIT1, TcpState.LAST_ACK,
        TcpState.ESTABLISHED, TcpState.CLOSE_WAIT, TcpState.FIN_WAIT1, TcpState.LAST_ACK,
        TcpState.ESTABLISHED, TcpState.CLOSE_WAIT, TcpState.FIN_WAIT2, TcpState.TIME_WAIT,
        TcpState.ESTABLISHED, TcpState.CLOSE_WAIT, TcpState.FIN_WAIT2, TcpState.CLOSED,
    ],
    np.uint8,
)  # fmt: skip
"""By bits: FIN of the client, FIN of the server, acknowledgement of the former, of the latter."""


def tcp_states(
    slots: I64, state: U8, steps: U8, fin: Bool, closed: Bool, careful: Bool, connections: Mapping[int, Connection]
) -> U8:
    """Return the `TcpState` of connections that end now; all but ``slots`` are columns of all flows.

    Those that are ``careful`` say themselves what was sent and acknowledged.
    """
    fins, acknowledged, answered = fin[slots], closed[slots], steps[slots] == _ANSWERED
    for at in np.flatnonzero(careful[slots]).tolist():
        connection = connections[int(slots[at])]
        halves = connection.halves
        if halves is None:
            answered[at] = connection.handshake is not None and bool(connection.handshake.replies)
        else:
            fins[at] = [half.fin_at is not None for half in halves]
            acknowledged[at] = [half.closed for half in halves]
    bits = fins[:, 0] | fins[:, 1] << 1 | acknowledged[:, 0] << 2 | acknowledged[:, 1] << 3
    opening = np.where(answered, TcpState.SYN_RECV, TcpState.SYN_SENT)
    ended = np.where(state[slots] == FlowState.CLOSED, TcpState.CLOSED, _OF_FINS[bits])
    return np.where(state[slots] == FlowState.NEW, opening, ended).astype(np.uint8)
