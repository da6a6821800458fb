"""Layers whose features live on neurons and have grades: equivariant to the whole group, along weights that act."""
