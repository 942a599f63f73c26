"""Tests of the console and the metrics."""
