# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The chapter's tables, figures and claims on a data set: ``python -m benchmarks.chapter``.

``tables.yaml`` declares the tables; ``plan`` says what one is made of, ``declared``, ``tables``, ``methods`` and
``targets`` make it of the file. ``parts`` turns tables into commands, ``workflow`` has Snakemake run these by the
``Snakefile``, ``job`` and ``run`` are one of them; ``scores``, ``markdown`` and ``report`` write the tables;
``claims``, ``claim_list`` and ``verdicts`` say which of the chapter's claims they show. ``release`` scores weights on
the test split, once; ``difficulty`` says how hard the phantom is.
"""
