"""Settings of the memory: what of alerts and changes is kept, and for how long."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class StoreSettings(BaseModel):
    """The database of alerts and changes that `ids alerts` and the console read."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    enabled: bool = Field(
        True,
        description="Whether a live engine keeps alerts and changes in `<engine.state_dir>/<instance>/events.db`, and"
        " commands a row for what they change by hand. A replay keeps nothing.",
    )
    max_bytes: int = Field(
        512 << 20,
        ge=1 << 20,
        description="Size of the database, in bytes; beyond it the oldest alerts of the rule with the most go first."
        " 512 MiB hold some 200,000 alerts: more than anybody reads, and little on any disk.",
    )
    max_age_days: float = Field(
        90.0,
        gt=0,
        le=36_500,
        description="Days after which alerts and changes go. A quarter, so that who looks into a case finds its"
        " beginning; addresses of people are not kept for longer without a reason.",
    )
    alerts_per_s: int = Field(
        500,
        ge=1,
        description="Alerts kept in a second, over ten seconds; more are counted (`store.skipped`) and are in EVE"
        " alone: an attack must not make the memory the main work, nor push all other history out of it.",
    )
