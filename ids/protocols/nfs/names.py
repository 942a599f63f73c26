"""Numbers of NFS and their names: procedures of versions 2 and 3, operations of version 4, statuses."""

from __future__ import annotations

_V2 = (
    "NULL", "GETATTR", "SETATTR", "ROOT", "LOOKUP", "READLINK", "READ", "WRITECACHE", "WRITE", "CREATE", "REMOVE",
    "RENAME", "LINK", "SYMLINK", "MKDIR", "RMDIR", "READDIR", "STATFS",
)  # fmt: skip
"""RFC 1094 section 2.2."""
_V3 = (
    "NULL", "GETATTR", "SETATTR", "LOOKUP", "ACCESS", "READLINK", "READ", "WRITE", "CREATE", "MKDIR", "SYMLINK",
    "MKNOD", "REMOVE", "RMDIR", "RENAME", "LINK", "READDIR", "READDIRPLUS", "FSSTAT", "FSINFO", "PATHCONF", "COMMIT",
)  # fmt: skip
"""RFC 1813 section 3.3."""
PROCEDURES = {2: _V2, 3: _V3, 4: ("NULL", "COMPOUND")}
"""By version."""
FIRST_OPERATION = 3
OPERATIONS = (
    # RFC 7530 section 16
    "ACCESS", "CLOSE", "COMMIT", "CREATE", "DELEGPURGE", "DELEGRETURN", "GETATTR", "GETFH", "LINK", "LOCK", "LOCKT",
    "LOCKU", "LOOKUP", "LOOKUPP", "NVERIFY", "OPEN", "OPENATTR", "OPEN_CONFIRM", "OPEN_DOWNGRADE", "PUTFH",
    "PUTPUBFH", "PUTROOTFH", "READ", "READDIR", "READLINK", "REMOVE", "RENAME", "RENEW", "RESTOREFH", "SAVEFH",
    "SECINFO", "SETATTR", "SETCLIENTID", "SETCLIENTID_CONFIRM", "VERIFY", "WRITE", "RELEASE_LOCKOWNER",
    # RFC 8881 section 18
    "BACKCHANNEL_CTL", "BIND_CONN_TO_SESSION", "EXCHANGE_ID", "CREATE_SESSION", "DESTROY_SESSION", "FREE_STATEID",
    "GET_DIR_DELEGATION", "GETDEVICEINFO", "GETDEVICELIST", "LAYOUTCOMMIT", "LAYOUTGET", "LAYOUTRETURN",
    "SECINFO_NO_NAME", "SEQUENCE", "SET_SSV", "TEST_STATEID", "WANT_DELEGATION", "DESTROY_CLIENTID",
    "RECLAIM_COMPLETE",
    # RFC 7862 section 15, RFC 8276 section 8
    "ALLOCATE", "COPY", "COPY_NOTIFY", "DEALLOCATE", "IO_ADVISE", "LAYOUTERROR", "LAYOUTSTATS", "OFFLOAD_CANCEL",
    "OFFLOAD_STATUS", "READ_PLUS", "SEEK", "WRITE_SAME", "CLONE", "GETXATTR", "SETXATTR", "LISTXATTRS", "REMOVEXATTR",
)  # fmt: skip
_STATUSES = {
    0: "OK", 1: "ERR_PERM", 2: "ERR_NOENT", 5: "ERR_IO", 6: "ERR_NXIO", 13: "ERR_ACCES", 17: "ERR_EXIST",
    18: "ERR_XDEV", 19: "ERR_NODEV", 20: "ERR_NOTDIR", 21: "ERR_ISDIR", 22: "ERR_INVAL", 27: "ERR_FBIG",
    28: "ERR_NOSPC", 30: "ERR_ROFS", 31: "ERR_MLINK", 63: "ERR_NAMETOOLONG", 66: "ERR_NOTEMPTY", 69: "ERR_DQUOT",
    70: "ERR_STALE", 71: "ERR_REMOTE", 10001: "ERR_BADHANDLE", 10002: "ERR_NOT_SYNC", 10003: "ERR_BAD_COOKIE",
    10004: "ERR_NOTSUPP", 10005: "ERR_TOOSMALL", 10006: "ERR_SERVERFAULT", 10007: "ERR_BADTYPE",
    10008: "ERR_JUKEBOX",
}  # fmt: skip
"""RFC 1813 section 2.6; EVE writes those that only version 4 has as numbers."""


def procedure(version: int, number: int) -> str:
    """Return the name of a procedure; its number where it has none."""
    names = PROCEDURES.get(version, ())
    return names[number] if number < len(names) else str(number)


def operation(number: int) -> str:
    """Return the name of an operation of version 4; its number where it has none."""
    at = number - FIRST_OPERATION
    return OPERATIONS[at] if 0 <= at < len(OPERATIONS) else str(number)


def status(number: int) -> str:
    """Return the name of a status, as EVE spells it."""
    return _STATUSES.get(number) or str(number)
