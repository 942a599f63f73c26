"""Settings of response: who may be blocked, for how long, and who never."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, IPvAnyNetwork

from ids.types import unmapped


def _word(value: object) -> object:
    """Take YAML's ``off`` for the word that it looks like: YAML 1.1 reads it as false."""
    return "off" if value is False else value


BlockModeName = Annotated[Literal["enforce", "shadow", "off"], BeforeValidator(_word)]


class RespondSettings(BaseModel):
    """What becomes of a match."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: BlockModeName = Field(
        "enforce",
        description="`enforce` blocks as the rules ask; `shadow` only counts in the kernel what it would have dropped;"
        " `off` never writes a block. Start with `shadow` on a gateway that you do not know yet.",
    )
    allow: list[Annotated[IPvAnyNetwork, AfterValidator(unmapped)]] = Field(
        default=[], description="Networks that are never blocked, whatever matches. They win in the kernel too."
    )
    protect_own: bool = Field(
        True,
        description="Never block an address of this host, of its gateways or of its resolvers: a forged packet from"
        " one of them must not cut the host off.",
    )
    block_home: bool = Field(
        False,
        description="Whether rules may block an address inside `vars.HOME_NET` for what it has to do with one outside."
        " Such a host is more often a victim (a browser that was made to follow a link with an exploit in it) than an"
        " attacker, so it is alerted on and not blocked, unless the rule says `home: true`; `then: drop` still drops"
        " the flow. Has no effect where `HOME_NET` is `any`: then nobody is outside.",
    )
    default_ttl_s: int = Field(
        3600, ge=1, le=31_536_000, description="How long a block lasts, in seconds, where the rule does not say."
    )
    max_ttl_s: int = Field(
        86_400 * 7, ge=1, description="Longest block in seconds, also for repeat offenders: addresses change hands."
    )
    repeat_factor: float = Field(
        2.0,
        ge=1,
        le=100,
        description="Each further block of the same source lasts this many times longer; but not one that follows on a"
        " block which somebody lifted, or which was only counted (shadow).",
    )
    ipv6_prefix: int = Field(
        64,
        ge=48,
        le=128,
        description="Prefix length of IPv6 blocks: a host has a /64 to itself, and changes addresses in it at will.",
    )
    max_blocks_per_minute: int = Field(
        6000,
        ge=1,
        description="Blocks by rules in one minute; above it matches alert without blocking, and are counted. Bounds"
        " the harm of a rule that matches everybody.",
    )
    alerts_per_flow: int = Field(
        256, ge=1, description="Alerts of one flow; further ones are counted only, so that a flow cannot fill the disk."
    )
