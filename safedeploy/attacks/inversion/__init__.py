"""Class-representative inversion: a typical input of a class, rebuilt from the file (Fredrikson et al. 2015)."""
