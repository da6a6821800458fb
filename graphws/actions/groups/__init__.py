"""Groups on data: what a user names (mirror, turns, shifts, tokens, generators), checked to be a group action.

`naming` reads names, `symmetry` holds the group with its table, `moves` and `grid_moves` know pictures, and `placing`
says where a group acts on the free spaces of a graph.
"""
