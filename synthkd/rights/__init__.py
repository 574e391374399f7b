"""Licenses and terms: what a sample was made under."""
