"""Groups that a network has no reason to know: `shuffled` inputs, other `moves` of pictures, scrambled `taps`."""
