"""Fundamental frequency behind one signature: one file a method, `on_grid` for all of them, and contours.

`vcpipe.f0.<method>.track(wave, rate, floor_hz=, ceil_hz=, frame_s=)` answers with a `Track` at the method's own times.
"""
