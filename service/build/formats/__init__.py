"""Readers of bronze's file formats: one shape for all of them, whatever the bytes are."""
