"""Assembly: from axes to a typed graph, with names for its spaces."""
