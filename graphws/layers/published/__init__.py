"""The layers of DWSNets as their authors built them: a map of its own for every ordered pair of parameters."""
