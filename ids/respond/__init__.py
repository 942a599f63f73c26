"""Response: matches in; EVE events and block orders out. A match asks, `Responder` decides; next comes the wire."""
