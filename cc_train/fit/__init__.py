"""The Transform Matrices: fitted on a trained model, and scored on pairs held out."""
