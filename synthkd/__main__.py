"""`python -m synthkd`."""

from synthkd.cli import main

main()
