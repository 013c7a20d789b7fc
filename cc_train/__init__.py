"""CC-Tuning: the method, training, fitting of Transform Matrices, and the reference inference."""
