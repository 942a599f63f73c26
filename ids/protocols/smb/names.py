"""What Suricata calls commands, dialects, functions and the rest of the numbers of SMB."""

from __future__ import annotations

from ids.protocols.smb.status import STATUSES

_SECOND = (
    "NEGOTIATE_PROTOCOL", "SESSION_SETUP", "SESSION_LOGOFF", "TREE_CONNECT", "TREE_DISCONNECT", "CREATE", "CLOSE",
    "FLUSH", "READ", "WRITE", "LOCK", "IOCTL", "CANCEL", "KEEPALIVE", "FIND", "CHANGE_NOTIFY", "GET_INFO", "SET_INFO",
    "OPLOCK_BREAK",
)  # fmt: skip
_FIRST = {
    0x00: "CREATE_DIRECTORY", 0x01: "DELETE_DIRECTORY", 0x02: "OPEN", 0x03: "CREATE", 0x04: "CLOSE", 0x05: "FLUSH",
    0x06: "DELETE", 0x07: "RENAME", 0x08: "QUERY_INFORMATION", 0x09: "SET_INFORMATION", 0x0A: "READ", 0x0B: "WRITE",
    0x0C: "LOCK_BYTE_RANGE", 0x0D: "UNLOCK_BYTE_RANGE", 0x0E: "CREATE_TEMPORARY", 0x0F: "CREATE_NEW",
    0x10: "CHECK_DIRECTORY", 0x11: "PROCESS_EXIT", 0x12: "SEEK", 0x13: "LOCK_AND_READ", 0x14: "WRITE_AND_UNLOCK",
    0x24: "LOCKING_ANDX", 0x25: "TRANS", 0x2B: "ECHO", 0x2C: "WRITE_AND_CLOSE", 0x2D: "OPEN_ANDX", 0x2E: "READ_ANDX",
    0x2F: "WRITE_ANDX", 0x32: "TRANS2", 0x33: "TRANS2_SECONDARY", 0x34: "FIND_CLOSE2", 0x71: "TREE_DISCONNECT",
    0x72: "NEGOTIATE_PROTOCOL", 0x73: "SESSION_SETUP_ANDX", 0x74: "LOGOFF_ANDX", 0x75: "TREE_CONNECT_ANDX",
    0x80: "QUERY_INFO_DISK", 0xA0: "NT_TRANS", 0xA1: "NT_TRANS_SECONDARY", 0xA2: "NT_CREATE_ANDX", 0xA4: "NT_CANCEL",
}  # fmt: skip
_DIALECTS = {
    0x0202: "2.02", 0x0210: "2.10", 0x0222: "2.22", 0x0224: "2.24", 0x02FF: "2.??", 0x0300: "3.00", 0x0302: "3.02",
    0x0310: "3.10", 0x0311: "3.11",
}  # fmt: skip
_DISPOSITIONS = (
    "FILE_SUPERSEDE", "FILE_OPEN", "FILE_CREATE", "FILE_OPEN_IF", "FILE_OVERWRITE", "FILE_OVERWRITE_IF",
)  # fmt: skip
SHARE_TYPES = {1: "FILE", 2: "PIPE", 3: "PRINT"}

_FUNCTIONS = {
    0x00060194: "DFS_GET_REFERRALS", 0x000601B0: "DFS_GET_REFERRALS_EX", 0x00090000: "REQUEST_OPLOCK_LEVEL_1",
    0x00090004: "REQUEST_OPLOCK_LEVEL_2", 0x00090008: "REQUEST_BATCH_OPLOCK", 0x0009000C: "OPLOCK_BREAK_ACKNOWLEDGE",
    0x00090010: "OPBATCH_ACK_CLOSE_PENDING", 0x00090014: "OPLOCK_BREAK_NOTIFY", 0x00090018: "LOCK_VOLUME",
    0x0009001C: "UNLOCK_VOLUME", 0x00090020: "DISMOUNT_VOLUME", 0x00090028: "IS_VOLUME_MOUNTED",
    0x0009002C: "IS_PATHNAME_VALID", 0x00090030: "MARK_VOLUME_DIRTY", 0x0009003B: "QUERY_RETRIEVAL_POINTERS",
    0x0009003C: "GET_COMPRESSION", 0x0009004F: "MARK_AS_SYSTEM_HIVE", 0x00090050: "OPLOCK_BREAK_ACK_NO_2",
    0x00090054: "INVALIDATE_VOLUMES", 0x00090058: "QUERY_FAT_BPB", 0x0009005C: "REQUEST_FILTER_OPLOCK",
    0x00090060: "FILESYSTEM_GET_STATISTICS", 0x00090064: "GET_NTFS_VOLUME_DATA", 0x00090068: "GET_NTFS_FILE_RECORD",
    0x0009006F: "GET_VOLUME_BITMAP", 0x00090073: "GET_RETRIEVAL_POINTERS", 0x00090074: "MOVE_FILE",
    0x00090078: "IS_VOLUME_DIRTY", 0x0009007C: "GET_HFS_INFORMATION", 0x00090083: "ALLOW_EXTENDED_DASD_IO",
    0x00090087: "READ_PROPERTY_DATA", 0x0009008B: "WRITE_PROPERTY_DATA", 0x0009008F: "FIND_FILES_BY_SID",
    0x00090097: "DUMP_PROPERTY_DATA", 0x0009009C: "GET_OBJECT_ID", 0x000900A4: "SET_REPARSE_POINT",
    0x000900A8: "GET_REPARSE_POINT", 0x000900C0: "CREATE_OR_GET_OBJECT_ID", 0x000900C4: "SET_SPARSE",
    0x000900D4: "SET_ENCRYPTION", 0x000900DB: "ENCRYPTION_FSCTL_IO", 0x000900DF: "WRITE_RAW_ENCRYPTED",
    0x000900E3: "READ_RAW_ENCRYPTED", 0x000900F0: "EXTEND_VOLUME", 0x00090244: "CSV_TUNNEL_REQUEST",
    0x0009027C: "GET_INTEGRITY_INFORMATION", 0x00090284: "QUERY_FILE_REGIONS", 0x000902C8: "CSV_SYNC_TUNNEL_REQUEST",
    0x00090300: "QUERY_SHARED_VIRTUAL_DISK_SUPPORT", 0x00090304: "SVHDX_SYNC_TUNNEL_REQUEST",
    0x00090308: "SVHDX_SET_INITIATOR_INFORMATION", 0x0009030C: "SET_EXTERNAL_BACKING",
    0x00090310: "GET_EXTERNAL_BACKING", 0x00090314: "DELETE_EXTERNAL_BACKING", 0x00090318: "ENUM_EXTERNAL_BACKING",
    0x0009031F: "ENUM_OVERLAY", 0x00090350: "STORAGE_QOS_CONTROL", 0x00090364: "SVHDX_ASYNC_TUNNEL_REQUEST",
    0x000940B3: "ENUM_USN_DATA", 0x000940B7: "SECURITY_ID_CHECK", 0x000940BB: "READ_USN_JOURNAL",
    0x000940CF: "QUERY_ALLOCATED_RANGES", 0x000940E7: "CREATE_USN_JOURNAL", 0x000940EB: "READ_FILE_USN_DATA",
    0x000940EF: "WRITE_USN_CLOSE_RECORD", 0x00094264: "OFFLOAD_READ", 0x00098098: "SET_OBJECT_ID",
    0x000980A0: "DELETE_OBJECT_ID", 0x000980A4: "SET_REPARSE_POINT", 0x000980AC: "DELETE_REPARSE_POINT",
    0x000980BC: "SET_OBJECT_ID_EXTENDED", 0x000980C8: "SET_ZERO_DATA", 0x000980D0: "ENABLE_UPGRADE",
    0x00098208: "FILE_LEVEL_TRIM", 0x00098268: "OFFLOAD_WRITE", 0x0009C040: "SET_COMPRESSION",
    0x0009C280: "SET_INTEGRITY_INFORMATION", 0x00110018: "PIPE_WAIT", 0x0011400C: "PIPE_PEEK",
    0x0011C017: "PIPE_TRANSCEIVE", 0x00140078: "SRV_REQUEST_RESUME_KEY", 0x001401D4: "LMR_REQUEST_RESILIENCY",
    0x001401FC: "QUERY_NETWORK_INTERFACE_INFO", 0x00140200: "VALIDATE_NEGOTIATE_INFO_224",
    0x00140204: "VALIDATE_NEGOTIATE_INFO", 0x00144064: "SRV_ENUMERATE_SNAPSHOTS", 0x001440F2: "SRV_COPYCHUNK",
    0x001441BB: "SRV_READ_HASH", 0x001480F2: "SRV_COPYCHUNK_WRITE",
}  # fmt: skip
"""Controls of files ([MS-FSCC] 2.3), by number."""

_ERRORS = {
    1: ("DOS_SUCCESS", "DOS_BAD_FUNC", "DOS_BAD_FILE", "DOS_BAD_PATH", "DOS_TOO_MANY_OPEN_FILES", "DOS_ACCESS_DENIED"),
    2: ("0", "SRV_ERROR", "SRV_BADPW", "SRV_BADTYPE", "SRV_ACCESS"),
}  # fmt: skip
"""By class: the errors of DOS, and those of servers."""

RPC_SERVICES = frozenset((b"svcctl", b"srvsvc", b"atsvc", b"lsarpc", b"samr", b"spoolss", b"winreg"))
"""Pipes whose calls Suricata logs as events of their own. Calls through other pipes are read for rules all the same."""


def command(version: int, number: int) -> str:
    """Return what EVE calls a command."""
    if version == 1:
        name = _FIRST.get(number)
        return f"SMB1_COMMAND_{name}" if name is not None else str(number)
    return f"SMB2_COMMAND_{_SECOND[number]}" if number < len(_SECOND) else str(number)


def dialect(number: int) -> str:
    """Return how a dialect of SMB 2 or 3 is written."""
    return _DIALECTS.get(number) or str(number)


def disposition(number: int) -> str:
    """Return what is to be done with a file that is, or is not, there."""
    return _DISPOSITIONS[number] if number < len(_DISPOSITIONS) else "UNKNOWN"


def function(number: int) -> str:
    """Return what EVE calls a control."""
    name = _FUNCTIONS.get(number)
    return f"FSCTL_{name}" if name is not None else str(number)


def status(code: int, dos: bool) -> tuple[str, str]:
    """Return name and code of what a server answered; ``dos``: a class and an error instead of a status."""
    if not dos:
        return STATUSES.get(code) or str(code), f"0x{code:x}"
    kind, error = code & 0xFF, code >> 16
    known = _ERRORS.get(kind)
    if known is None:
        return f"UNKNOWN_{kind:02x}_{error:04x}", f"0x{error:04x}"
    if kind == 2 and error == 91:
        return "SRV_BADUID", f"0x{error:04x}"
    return known[error] if error < len(known) else str(error), f"0x{error:04x}"


def guid(raw: bytes) -> str:
    """Return the GUID of a server or of an open file as Suricata writes it; of two bytes, an identifier of SMB 1."""
    if len(raw) != 16:
        return raw[::-1].hex()
    parts = raw[3::-1], raw[5:3:-1], raw[7:5:-1], raw[9:7:-1], raw[11:9:-1] + raw[15:11:-1]
    return "-".join([part.hex() for part in parts])


def is_pipes(share: bytes) -> bool:
    """Return whether a share is by its name the one of pipes."""
    return share.rpartition(b"\\")[2].upper() == b"IPC$"
