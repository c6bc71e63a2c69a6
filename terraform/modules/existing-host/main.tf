# A host that is there already: nothing is made, what is said of it is checked and handed on.
