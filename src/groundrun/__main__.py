"""`python -m groundrun` is the command `groundrun`."""

from __future__ import annotations

from groundrun.cli import main

if __name__ == "__main__":
    main()
