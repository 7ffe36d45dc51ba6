# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Cross-validation on real slices of NIH Pancreas-CT, and real volumes: ``python -m benchmarks.real``.

``plan`` says which methods there are, and which parts of :mod:`benchmarks.chapter` make their weights and scores;
``budget`` gives rivals the same seconds; ``rows`` joins the scores of a patient, ``tables`` compares the methods;
``pictures`` and ``volumes`` show what the weights do.
"""
