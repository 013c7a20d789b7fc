"""Benchmarks in the paper's protocol, against an OpenAI endpoint or in process, and the comparison of two systems."""
