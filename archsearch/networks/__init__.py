"""Networks: one definition that serves stand-alone training and weight sharing alike."""
