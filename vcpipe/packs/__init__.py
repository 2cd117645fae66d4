"""Packs: WebDataset tars with exactly the columns that one trainer reads, written, checked and streamed.

A folder of packs holds `000000.tar`, `000001.tar`, ... and `index.json`, which says of every tar its size and SHA-256
and of every utterance where its members stand. A sample is the members `<key>.json`, `<key>.<column>.npy` and, for
audio, `<key>.<column>.int16.npy` or `<key>.<column>.flac`; `webdataset.WebDataset(...)` with `.map` of
`vcpipe.packs.decode.decode` reads the tars too.
"""
