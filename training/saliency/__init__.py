"""Salient object detection as in the paper: labels of low fidelity, networks, loop and read-out."""
