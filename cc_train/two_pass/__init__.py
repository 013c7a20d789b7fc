"""The model as it is trained: the English pass, the choice of a layer, the connected pass, and their losses."""
