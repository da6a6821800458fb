"""The gate: random elements, moment maps and a second front end put a graph to the test on its source."""
