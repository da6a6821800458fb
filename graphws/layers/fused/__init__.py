"""The fast path on CPUs: operations that do several steps in one pass and have gradients of their own."""
