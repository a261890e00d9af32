"""Architectures, one family a file. An entry takes wiring (num_classes, in_channels, image_size, parts) and settings.

Every network here is a plain nn.Module whose last layer is `head`.
"""
