# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
