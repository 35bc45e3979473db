"""The landmark mesh: which vertices there are, how they hang together, and which mirrors which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
