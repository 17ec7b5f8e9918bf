"""What of judging runs inside the jail: standard library and the engine's guest modules only."""
