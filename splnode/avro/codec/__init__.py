"""Bytes to values and back: one plan, two engines behind one interface."""
