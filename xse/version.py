"""The version of xse. meson.build reads this line."""

VERSION = "0.1.0"
