"""Networks with a hidden symmetry that is known, and students trained to compute what they compute."""
