"""What EVE logs of a call, key for key as Suricata 7."""

from __future__ import annotations

from typing import Any

from ids.protocols.dcerpc.calls import RpcCall
from ids.protocols.dcerpc.pdu import BIND, KINDS, REQUEST, RESPONSE, Interface


def kind(number: int) -> str:
    """Return what Suricata calls a type of message."""
    return KINDS[number] if number < len(KINDS) else str(number)


def fields(call: RpcCall) -> dict[str, Any]:
    """Return the object of a call over a connection."""
    said = _asked(call)
    if call.asked and call.kind == BIND and call.bound:
        said["interfaces"] = [_interface(bound, reason=False) for bound in call.bound]
    said.update(_answered(call))
    if call.answered and call.answers == RESPONSE:
        said["res"] = {"frag_cnt": call.answer_fragments, "stub_data_size": len(call.answer)}
    return {**said, "call_id": call.call_id, "rpc_version": f"5.{call.minor}"}


def fields_in_pipe(call: RpcCall) -> dict[str, Any]:
    """Return the object ``dcerpc`` within that of SMB, for a call through a named pipe."""
    request = {"request": kind(call.kind) if call.kind is not None else "REQUEST_LOST"}
    said: dict[str, Any] = {**request, **_answered(call)}
    if call.kind == REQUEST:
        said["opnum"] = call.opnum
        said["req"] = {"frag_cnt": call.fragments, "stub_data_size": len(call.stub)}
        if call.bound and not call.context:  # Suricata takes all interfaces for those of context 0
            said["interfaces"] = [_interface(bound._replace(result=None), reason=True) for bound in call.bound]
    elif call.kind == BIND and call.bound:
        said["interfaces"] = [_interface(bound, reason=True) for bound in call.bound]
    if call.answers == RESPONSE:
        said["res"] = {"frag_cnt": call.answer_fragments, "stub_data_size": len(call.answer)}
    return {**said, "call_id": call.call_id}


def _asked(call: RpcCall) -> dict[str, Any]:
    if not call.asked or call.kind is None:
        return {"request": "REQUEST_LOST"}
    said: dict[str, Any] = {"request": kind(call.kind)}
    if call.kind == REQUEST:
        said["req"] = {"opnum": call.opnum, "frag_cnt": call.fragments, "stub_data_size": len(call.stub)}
    return said


def _answered(call: RpcCall) -> dict[str, Any]:
    return {"response": kind(call.answers) if call.answered and call.answers is not None else "UNREPLIED"}


def _interface(bound: Interface, *, reason: bool) -> dict[str, Any]:
    said: dict[str, Any] = {"uuid": bound.uuid, "version": f"{bound.version}.{bound.minor}"}
    if bound.result is not None:
        said["ack_result"] = bound.result
        if reason:
            said["ack_reason"] = 0
    return said
