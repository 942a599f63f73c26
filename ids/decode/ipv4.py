"""IPv4 headers. Source: RFC 791."""

from __future__ import annotations

import numpy as np

from ids.capture.gather import gather
from ids.decode import checksum
from ids.decode.columns import FRAGMENT, Columns, FragmentRows
from ids.decode.options import refused_options
from ids.types import I64, IPV4_MAPPED_PREFIX, Anomaly

MIN_HEADER = 20

_HEADER = np.dtype(
    [
        ("version_ihl", "u1"),
        ("tos", "u1"),
        ("total", ">u2"),
        ("id", ">u2"),
        ("fragment", ">u2"),
        ("ttl", "u1"),
        ("proto", "u1"),
        ("checksum", ">u2"),
        ("src", ">u4"),
        ("dst", ">u4"),
    ]
)
_MAPPED = np.uint64(IPV4_MAPPED_PREFIX)
_MORE = 0x2000
_OFFSET = 0x1FFF


def decode_ipv4(columns: Columns, rows: I64, verify: bool) -> I64:
    """Decode the IPv4 headers of ``rows``; return the rows whose transport header comes next."""
    start = columns.l3[rows]
    header = gather(columns.data, start, _HEADER)
    have, on_wire = columns.frame_end[rows] - start, columns.wire_end[rows] - start
    length = (header["version_ihl"] & 15).astype(np.int64) * 4
    total = header["total"].astype(np.int64)
    keep = columns.judge(
        rows,
        (have < MIN_HEADER, Anomaly.IPV4_TRUNCATED),
        (header["version_ihl"] >> 4 != 4, Anomaly.IP_BAD_VERSION),
        (length < MIN_HEADER, Anomaly.IPV4_BAD_HEADER_LENGTH),
        (have < length, Anomaly.IPV4_TRUNCATED),
        (total < length, Anomaly.IPV4_SHORT_TOTAL_LENGTH),
        (total > on_wire, Anomaly.IPV4_BAD_TOTAL_LENGTH),
    )
    if keep is not None:
        rows, start, header, length, total = rows[keep], start[keep], header[keep], length[keep], total[keep]

    columns.ip_version[rows] = 4
    src, dst = header["src"].astype(np.uint64), header["dst"].astype(np.uint64)
    columns.src[rows, 1] = src | _MAPPED
    columns.dst[rows, 1] = dst | _MAPPED
    columns.address_sum[rows] = src + dst
    columns.proto[rows] = header["proto"]
    columns.ttl[rows] = header["ttl"]
    columns.l4[rows] = start + length
    columns.ip_end[rows] = start + total

    fragment = header["fragment"].astype(np.uint16)
    partial = (fragment & (_MORE | _OFFSET)) != 0
    columns.fragment[rows] = partial
    verdicts = [(partial, Anomaly.FRAGMENT)]
    if verify:
        wrong = ~checksum.headers_valid(header)
        options = np.flatnonzero(length > MIN_HEADER)
        if options.size:
            begin = start[options]
            wrong[options] = ~checksum.segments_valid(columns.data, begin, begin + length[options])
        if columns.batch.unsummed is not None:
            wrong &= ~columns.batch.unsummed[rows]
        verdicts.insert(0, (wrong, Anomaly.BAD_IP_CHECKSUM))
    options = np.flatnonzero(length > MIN_HEADER)
    if options.size:
        begin = start[options]
        refused = options[refused_options(columns, rows[options], begin + MIN_HEADER, begin + length[options])]
        columns.doubt_rows(rows[refused], Anomaly.IPV4_BAD_OPTIONS)
        unfit = np.zeros(len(rows), np.bool_)
        unfit[refused] = partial[refused]  # nothing is put together of what is refused
        verdicts.insert(-1, (unfit, Anomaly.IPV4_BAD_OPTIONS))
    keep = columns.judge(rows, *verdicts)
    if keep is None:
        return rows
    parts = np.flatnonzero(columns.anomaly[rows] == FRAGMENT)
    if parts.size:
        chosen = rows[parts]
        columns.set_payload(chosen, columns.l4[chosen], columns.ip_end[chosen])
        columns.l4[chosen] = -1
        columns.fragments.append(
            FragmentRows(
                rows=chosen,
                identification=header["id"][parts].astype(np.uint32),
                offset=(fragment[parts] & _OFFSET).astype(np.int64) * 8,
                more=(fragment[parts] & _MORE) != 0,
            )
        )
    return rows[keep]
