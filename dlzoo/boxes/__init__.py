"""Box algebra: functions of boxes (..., 4) as x1, y1, x2, y2. Imports only torch and core/."""
