"""Benchmarks; see README.md. Speed is measured here, never by a test."""
