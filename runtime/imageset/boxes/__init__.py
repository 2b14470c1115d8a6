"""Boxes of pictures as data sets ship them, for `netc convert-imageset --boxes`.

a folder            an XML file for each picture, as PASCAL VOC and ImageNet have them (xml.py)
a .json file        COCO's instances_….json (coco.py)
any other file      a table: a box a line, its picture's name, its class, x1 y1 x2 y2 (table.py)
"""
