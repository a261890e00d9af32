"""Losses: modules called as loss(input, target) -> (), the mean over the batch. Half precision is computed in float32.

Integer targets are class indices (N, ...) for scores (N, K, ...), or, in the shape of the input, 0 or 1 for one score
per sample. Floating targets have the shape of the input and are probabilities, numbers or boxes (N, 4).
A registration declares `targets`, `soft=True` if targets may be probabilities, and `learns=False` if the gradient is
zero. The targets are "classification", "regression", "masks" (core.protocols.Summed with `valid`), and for detectors
"objects" (classes of boxes), "boxes" and "offsets". Losses for those three have `each`, the loss of each row; one for
objects may declare its classes `independent`.
"""
