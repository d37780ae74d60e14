"""Kernels for the GPU, written in Triton: rows, pools and columns in tiles that fit the registers.

The kernels are in :mod:`.rows`, :mod:`.pools` and :mod:`.columns`; :mod:`.engine` hands them
tensors without copying. Importing the modules imports Triton; importing this package does not.

Half precision is read and written as it is; statistics are float32, of float64 data float64. A
mean is kept as float64 and used as the sum of two numbers, so that data far from 0 lose nothing.
With ``TRITON_INTERPRET=1`` the same kernels run on the CPU, step by step, for tests.
"""
