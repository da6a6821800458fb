"""The analysis of one network: reduction, extraction, its result, and the quotient by the action."""
