"""Response: matches in; EVE events and block orders out. A match asks, `Responder` decides; the next stage is the wire."""
