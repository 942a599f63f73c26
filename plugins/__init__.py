"""The detectors and outputs that ship with the engine; they use the same API as anybody's plugin."""
