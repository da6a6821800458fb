"""Models, submodels and their maps α, α*, β, γ (paper I, definitions 3.1 and 3.2), and a check of the diagram."""
