"""The analysis of a program: what its operations demand of axes, and the blocks, families and powers that follow."""
