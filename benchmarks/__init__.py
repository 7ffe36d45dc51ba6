# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Measurements that need the source tree; nothing of the package imports them."""
