"""Photos and masks as people's files hold them -> arrays, and back; folders of them; drawing.

What the values of a mask mean is decided in `mask_values`, what a mask file says in
`mask_files`. Nothing in here knows of data sets, classes of a data set, or networks.
"""
