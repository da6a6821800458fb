"""The poolings that `graphws.pooling.POOLINGS` names, one idea a file."""
