"""Networks of different graphs in one batch: their disjoint union, without padding and without a loop over graphs."""
