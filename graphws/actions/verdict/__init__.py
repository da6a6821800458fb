"""The verdict on an action, the null that its figures are read against, and the layers that a symmetry reaches."""
