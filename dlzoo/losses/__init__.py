"""Losses: modules called as loss(input, target) -> (), the batch's mean, in float32 or better (half is computed in it).

The target's type says what it is. Integers are class indices (N, ...) for scores (N, K, ...), or 0 and 1 for one score
a sample, in the input's shape; floating targets have the input's shape and are probabilities, numbers or boxes (N, 4).
A registration says `kinds`, `soft=True` where targets may be probabilities, and `learns=False` where the gradient is
zero. The kinds are "classification", "regression", and what a detector learns: "objects" (classes of boxes), "boxes"
and "offsets". Those three have `each`, the loss of each row, and one of objects says whether its classes are
`independent`.
"""
