"""Sparse weights in an ONNX file as codes that any ONNX Runtime turns back into the weights while it loads.

A weight is stored as its non-zero values and the coded distances between them, and rebuilt by standard operators whose
inputs are all constants. ONNX Runtime folds those once, so what runs is the dense graph, bit for bit.
"""
