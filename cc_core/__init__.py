"""What training and serving share: the method, the checkpoint contract, language detection, the command line's help."""
