"""Benchmarks: store_lib and its peers on the same input, in turn, each in a process of its own."""
