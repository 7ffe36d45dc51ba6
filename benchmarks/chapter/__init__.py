# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The chapter's tables, figures and claims on a data set: ``python -m benchmarks.chapter``.

``plan`` says what a table is made of; ``methods``, ``ablations``, ``targets`` and ``tables`` which tables there are;
``parts`` turns them into commands and ``run`` runs these; ``scores``, ``markdown`` and ``report`` write the tables;
``claims``, ``claim_list`` and ``verdicts`` say which of the chapter's claims they show. ``release`` scores weights on
the test split, once; ``difficulty`` says how hard the phantom is.
"""
