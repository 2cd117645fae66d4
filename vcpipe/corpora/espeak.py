"""A binding to the espeak-ng library of the `espeakng_loader` wheel: text in, samples and word times out.

The library is global to its process and keeps state from one utterance to the next, so a corpus is spoken by
short-lived child processes: `speak_all` starts one, this module as a script is what runs in it.
"""
