"""The corpus: one file that holds every paid answer, and can answer for itself."""
