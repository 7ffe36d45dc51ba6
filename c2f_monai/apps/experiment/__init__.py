# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``experiment``: the chapter's tables, figures and claims on a data set, each a command.

``plan`` says what a table is made of; ``methods``, ``ablations``, ``targets`` and ``tables`` which tables there are;
``parts`` turns them into commands and ``run`` runs these; ``scores``, ``markdown`` and ``report`` write the tables;
``claims``, ``claim_list`` and ``verdicts`` say which of the chapter's claims they show.
"""

from __future__ import annotations

from .command import add_parser, parse_option, parse_organ

__all__ = ["add_parser", "parse_option", "parse_organ"]
