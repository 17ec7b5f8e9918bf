"""Speed against peers, and long runs. Nothing here is part of the installed package; it needs a checkout.

`groundrun bench engine` (or `make bench`) starts `bench.row` once per contestant and round; `bench.soak` is run by hand.
What a row process imports besides the standard library is the contestant's own, so that no row carries another's weight.
"""
