"""What runs inside the jail: standard library only, under any Python from 3.10 on, with nothing installed there."""
