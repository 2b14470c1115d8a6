"""The paper's tests of a trained net (Simonyan and Zisserman, Sect. 3.2): pieces, and the protocols made of them."""
